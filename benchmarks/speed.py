"""How fast: one question a command, each a ratio to a named reference in the same run.

    python benchmarks/speed.py loop       # forward + backward, against a plain loop over nn.LSTMCell
    python benchmarks/speed.py elbo       # the ELBO's share of a meta-step
    python benchmarks/speed.py peak       # arithmetic of the LSTM on MNIST networks, against torch.mm
    python benchmarks/speed.py growth     # time a step as d, L and H grow
    python benchmarks/speed.py compiled   # the hand-fused LSTM cell, against autograd's and torch.compile's
    python benchmarks/speed.py cost       # a step of each rule on MNIST networks, against Adam's
    python benchmarks/speed.py processes  # torchrun with 2 processes, against 1; and weights and gradient alike

Each writes ``benchmarks/results/speed-<question>.json``.  Ways are timed in turn, so that a busy machine slows all of
them; a ratio is the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from probact.inference.objectives.base import Objective
from probact.problems.base import Optimizee, value_and_grad
from probact.rules.base import RULES
from probact.rules.lstm import LSTMCell, fused_cell, log_and_sign
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.support.files import write_atomically
from probact.support.randomness import random_stream
from probact.support.trees import flatten
from probact.unrolling.rollout import unroll
from probact.unrolling.walk import Unrolling

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS = 9
Cell = Callable[..., tuple[Tensor, Tensor]]


def timed(ways: Mapping[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each way in each round, the first (untimed) round apart."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            begun = time.perf_counter()
            run()
            if number:
                seconds[way].append(time.perf_counter() - begun)
    return seconds


def ratio(reference: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(reference, other, strict=True))


def problems(family: str, num: int, **options: Any) -> Optimizee:
    return Experiment.create(family=family, family_options=options).build_family().sample(num, random_stream("test", 0))


class PlainLSTM(nn.Module):
    """What one writes first: two ``nn.LSTMCell`` and a linear layer, autograd for all of it."""

    def __init__(self, size: int = 20) -> None:
        super().__init__()
        self.first, self.second = nn.LSTMCell(2, size), nn.LSTMCell(size, size)
        self.output = nn.Linear(size, 1, bias=False)

    def unroll(self, optimizee: Optimizee, horizon: int, truncate: int) -> None:
        """Learning to learn with truncated backpropagation, gradients into the weights."""
        theta = optimizee.theta0["theta"]
        num, dimension = theta.shape
        state = [torch.zeros(num * dimension, self.first.hidden_size) for _ in range(4)]
        total = torch.zeros(())
        for step in range(1, horizon + 1):
            leaf = theta.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(optimizee.nll({"theta": leaf}).sum(), leaf)
            inputs = log_and_sign(gradient.flatten()).T
            state[:2] = self.first(inputs, (state[0], state[1]))
            state[2:] = self.second(state[0], (state[2], state[3]))
            theta = theta + self.output(state[2]).view(num, dimension)
            total = total + optimizee.nll({"theta": theta}).mean()
            if step % truncate == 0:
                total.backward()
                total, theta, state = torch.zeros(()), theta.detach(), [part.detach() for part in state]


def loop() -> dict[str, Any]:
    num, horizon, truncate = 125, 100, 20
    optimizee = problems("quadratic", num)
    plain, rule = PlainLSTM(), RULES["lstm"]()

    def ours(**options: Any) -> Callable[[], None]:
        unrolling = Unrolling(truncate=truncate, **options)

        def run() -> None:
            unroll(rule, optimizee, horizon, unrolling).nll[1:].sum(0).mean().backward()

        return run

    first_calls = {}
    for way, run in {"path cut": ours(through_path=False), "compiled": ours(through_path=False, compiled=True)}.items():
        begun = time.perf_counter()
        run()
        first_calls[way] = time.perf_counter() - begun
    seconds = timed(
        {
            "plain loop": lambda: plain.unroll(optimizee, horizon, truncate),
            "path kept": ours(through_path=True),
            "path cut": ours(through_path=False),
            "path cut, recomputed": ours(through_path=False, recompute=True),
            "path cut, compiled": ours(through_path=False, compiled=True),
        }
    )
    reference = seconds["plain loop"]
    return {
        "problem": f"quadratic, L {num}, d 10, H {horizon}, truncated at {truncate}, LSTM 2 x 20",
        "first_call_seconds": first_calls,
        "ms_a_step": {way: 1e3 * statistics.median(rows) / horizon for way, rows in seconds.items()},
        "optimizee_steps_a_second": {way: num * horizon / statistics.median(rows) for way, rows in seconds.items()},
        "times_the_plain_loop": {way: ratio(reference, rows) for way, rows in seconds.items()},
    }


def elbo() -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, settings in {
        "collapse": {},
        "collapse, t first": {"halting_first": True},
        "sample": {"estimator": "sample"},
    }.items():
        experiment = Experiment.create(family="quadratic", horizon=100, batch=128, **settings)
        objective, optimizee = build_objective(experiment).train(), problems("quadratic", 128)
        rollout = objective.unroll(optimizee, random_stream("horizon", 0))
        nll, features = rollout.nll.detach().requires_grad_(), rollout.features.detach().requires_grad_()
        tables = rollout._replace(nll=nll, features=features)

        def bound(objective: Objective = objective, tables: Any = tables) -> None:
            objective.loss(tables).backward()

        def head(objective: Objective = objective, tables: Any = tables) -> None:
            assert objective.posterior is not None
            objective.posterior(tables.features).logits.sum().backward()

        def meta_step(objective: Objective = objective, optimizee: Optimizee = optimizee) -> None:
            objective(optimizee, 1.0, random_stream("horizon", 0))[0].backward()

        seconds = timed({"meta-step": meta_step, "head and ELBO": bound, "head": head})
        shares = {way: 1 / ratio(seconds["meta-step"], seconds[way]) for way in ("head and ELBO", "head")}
        result[name] = {
            "ms": {way: 1e3 * statistics.median(rows) for way, rows in seconds.items()},
            "share": {**shares, "ELBO": shares["head and ELBO"] - shares["head"]},
        }
    return result


def multiplications(hidden: int = 20) -> int:
    """Multiply-adds of the LSTM's matrix products a coordinate and step, forward."""
    return 4 * hidden * (2 + hidden) + 4 * hidden * (2 * hidden) + hidden


def peak() -> dict[str, Any]:
    num, horizon = 16, 3
    optimizee = problems("mnist", num)
    coordinates = num * 15_910
    rule = RULES["lstm"](scale=0.1)
    square = torch.randn(2048, 2048)

    def forward() -> None:
        with torch.no_grad():
            unroll(rule, optimizee, horizon)

    def both() -> None:
        result = unroll(rule, optimizee, horizon, Unrolling(truncate=20, through_path=False, recompute=True))
        result.nll.sum().backward()

    seconds = timed({"torch.mm": lambda: torch.mm(square, square), "forward": forward, "meta-step": both}, 3)
    rate = 2 * 2048**3 / statistics.median(seconds["torch.mm"])
    steps = horizon + 1  # the last look is worked out too
    forward_work = 2.0 * multiplications() * coordinates * steps
    # There, again with a graph, again for the gates that are not kept, and twice that for the two products back.
    work = {"forward": forward_work, "meta-step": 5 * forward_work}
    return {
        "problem": f"{num} MNIST networks of 15,910 parameters, LSTM 2 x 20",
        "torch_mm_gflops": rate / 1e9,
        "seconds_a_step": {way: statistics.median(seconds[way]) / steps for way in work},
        "ns_a_coordinate": {way: 1e9 * statistics.median(seconds[way]) / steps / coordinates for way in work},
        "share_of_torch_mm": {way: work[way] / statistics.median(seconds[way]) / rate for way in work},
    }


def growth() -> dict[str, Any]:
    rule = RULES["lstm"]()

    def meta_step(num: int, dimension: int, horizon: int) -> Callable[[], None]:
        optimizee = problems("quadratic", num, dim=dimension)

        def run() -> None:
            unroll(rule, optimizee, horizon, Unrolling(truncate=20, through_path=False)).nll.sum(0).mean().backward()

        return run

    cases = {
        **{f"d {size}": (64, size, 20) for size in (10, 40, 160, 640)},
        **{f"L {size}": (size, 10, 20) for size in (16, 64, 256, 1024)},
        **{f"H {size}": (64, 10, size) for size in (20, 40, 80, 160)},
    }
    seconds = timed({name: meta_step(*case) for name, case in cases.items()}, 3)
    return {
        "reference": "L 64, d 10, H 20",
        "ms_a_step": {name: 1e3 * min(seconds[name]) / cases[name][2] for name in cases},
        "times_the_reference": {
            name: 1 / ratio(seconds["L 64"], seconds[name]) * 20 / cases[name][2] for name in cases
        },
    }


def plain_cell(inputs: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """``LSTMCell`` as one writes it: autograd, or torch.compile, finds the derivative."""
    size = len(hidden)
    gates = torch.addmm(bias, weight, torch.cat([inputs, hidden]))
    let_in, keep, let_out = torch.sigmoid(gates[: 3 * size]).chunk(3)
    new_cell = keep * cell + let_in * torch.tanh(gates[3 * size :])
    return let_out * torch.tanh(new_cell), new_cell


def compiled() -> dict[str, Any]:
    """20 steps of two cells, forward and backward, on n coordinates."""
    torch.manual_seed(0)
    cells = [LSTMCell(2, 20), LSTMCell(20, 20)]
    fast = torch.compile(plain_cell)
    ways: dict[str, Cell] = {"autograd": plain_cell, "torch.compile": fast, "fused by hand": fused_cell}
    result: dict[str, Any] = {}
    for columns in (1_250, 16_000):
        gradients = [torch.randn(2, columns) for _ in range(20)]

        def segment(way: str, gradients: list[Tensor] = gradients, columns: int = columns) -> None:
            state = [torch.zeros(20, columns, requires_grad=True) for _ in range(4)]
            total = torch.zeros(())
            for gradient in gradients:
                state[:2] = ways[way](gradient, state[0], state[1], cells[0].weight, cells[0].bias)
                state[2:] = ways[way](state[0], state[2], state[3], cells[1].weight, cells[1].bias)
                total = total + state[2].sum()
            total.backward()

        begun = time.perf_counter()
        segment("torch.compile")
        first_call = time.perf_counter() - begun
        seconds = timed({way: partial(segment, way) for way in ways}, 5)
        result[f"{columns} coordinates"] = {
            "first_compiled_call_seconds": first_call,
            "ms_a_step": {way: 1e3 * statistics.median(rows) / 20 for way, rows in seconds.items()},
            "times_autograd": {way: ratio(seconds["autograd"], rows) for way, rows in seconds.items()},
        }
    return result


def cost() -> dict[str, Any]:
    """A step of 16 MNIST networks: milliseconds with and without the gradient; multiplications in matrix products."""
    optimizee = problems("mnist", 16)
    rules: dict[str, dict[str, Any]] = {
        "adam": {"lr": 0.02},
        "nag": {"lr": 0.3},
        "lbfgs": {},
        "subspace": {"memory": 0, "start": "adam"},
        "hierarchical": {},
        "lstm": {},
    }
    start = optimizee.theta0
    gradient = partial(value_and_grad, partial(optimizee.loss, step=0), start)
    loss, grads = gradient()
    with torch.no_grad():
        ways: dict[str, Callable[[], Any]] = {"gradient": gradient}
        weights, products = {}, {}
        for name, options in rules.items():
            rule = RULES.build(name, options)
            weights[name] = sum(weight.numel() for weight in rule.parameters())
            state = rule.step(grads, rule.init(start), start, loss).state
            ways[name] = partial(rule.step, grads, state, start, loss)
            with FlopCounterMode(display=False) as counter:
                ways[name]()
            products[name] = counter.get_total_flops() / 2 / flatten(start).numel()
        seconds = timed(ways)
    least = {way: min(found) for way, found in seconds.items()}
    adam = least["gradient"] + least["adam"]
    return {
        "problem": "16 MNIST networks of 15,910 parameters, minibatches of 128; least of the rounds",
        "weights": weights,
        "multiplications_a_coordinate": products,
        "ms_a_step": {way: 1000 * value for way, value in least.items()},
        "update_times_adam": {name: least[name] / least["adam"] for name in rules},
        "gradient_and_update_times_adam": {name: (least["gradient"] + least[name]) / adam for name in rules},
    }


def processes() -> dict[str, Any]:
    """Both train alone on the machine, in turn, one thread a process; seconds a meta-step from metrics.jsonl."""
    return {
        "problem": "quadratic, d 10, H 100, LSTM 2 x 20, one thread a process",
        **{f"L {batch}": _processes(batch) for batch in (128, 1024)},
    }


def _processes(batch: int) -> dict[str, Any]:
    settings = ("--family", "quadratic", "--batch", str(batch), "--horizon", "100", "--meta-steps", "20")
    rows: dict[int, list[float]] = {1: [], 2: []}
    weights: dict[int, dict[str, torch.Tensor]] = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(2):
            for count in rows:
                out = Path(name) / f"{count}-{number}"
                torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
                command = [*torchrun, str(ROOT / "cli.py"), "fit", *settings, "--out", str(out)]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                subprocess.run(command, cwd=ROOT, check=True, env=environment, capture_output=True)
                records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
                rows[count].append(statistics.median(record["seconds"] for record in records[2:]))
                weights[count] = torch.load(out / "checkpoint.pt", weights_only=True)["weights"]
    difference = max(float((weights[1][key] - weights[2][key]).abs().max()) for key in weights[1])
    return {
        "seconds_a_meta_step": {str(count): statistics.median(found) for count, found in rows.items()},
        "times_one_process": ratio(rows[1], rows[2]),
        "largest_difference_of_weights_after_20_meta_steps": difference,
    }


QUESTIONS = {
    "loop": loop,
    "elbo": elbo,
    "peak": peak,
    "growth": growth,
    "compiled": compiled,
    "cost": cost,
    "processes": processes,
}

if __name__ == "__main__":
    chosen = sys.argv[1:] or list(QUESTIONS)
    if any(name not in QUESTIONS for name in chosen):
        sys.exit(f"Error: expected one or more of: {', '.join(QUESTIONS)}")
    for question in chosen:
        answer = {"threads": torch.get_num_threads(), **QUESTIONS[question]()}
        RESULTS.mkdir(exist_ok=True)
        write_atomically(RESULTS / f"speed-{question}.json", json.dumps(answer, indent=1) + "\n")
        print(question, json.dumps(answer, indent=1), sep="\n")
