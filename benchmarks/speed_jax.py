"""The unroll of the LSTM optimizer, there and back, against the same unroll in JAX, on one core.

    pip install jax                      # not of the project: this command alone needs it
    taskset -c 0 python benchmarks/speed_jax.py

Quadratic problems, LSTM of two layers of 20 units, truncated at 20 steps, no derivative of the gradient; losses of
all steps are added up and differentiated by the LSTM's weights.  In JAX the whole of it is one ``jax.jit`` of
``lax.scan`` within ``lax.scan``, in two layouts of the state, of which the faster counts.  Both begin with the same
weights and problems; losses and derivatives are compared before anything is timed.  Ways take turns; a ratio is the
median over the rounds of the ratio within a round.  Writes ``benchmarks/results/speed-jax.json``.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = "1"

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax import Array, lax
from speed import RESULTS, problems, ratio, timed

from probact.problems.linear import LinearModel
from probact.rules.base import RULES
from probact.support.files import write_atomically
from probact.unrolling.rollout import unroll
from probact.unrolling.walk import Unrolling

HORIZON, SEGMENT, DIMENSION = 100, 20, 10
Weights = dict[str, Array]
Cell = Callable[[Array, Array, Array, Array, Array], tuple[Array, Array]]


def gates(all_gates: Array, cell: Array, axis: int) -> tuple[Array, Array]:
    let_in, keep, let_out, candidate = jnp.split(all_gates, 4, axis)
    new_cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(let_in) * jnp.tanh(candidate)
    return jax.nn.sigmoid(let_out) * jnp.tanh(new_cell), new_cell


def columns_last(inputs: Array, hidden: Array, cell: Array, weight: Array, bias: Array) -> tuple[Array, Array]:
    """As ``probact.rules.lstm.LSTMCell``: ``(size, columns)``."""
    return gates(weight @ jnp.concatenate([inputs, hidden], 0) + bias, cell, 0)


def columns_first(inputs: Array, hidden: Array, cell: Array, weight: Array, bias: Array) -> tuple[Array, Array]:
    """As ``torch.nn.LSTMCell`` and Flax: ``(columns, size)``."""
    return gates(jnp.concatenate([inputs, hidden], 1) @ weight.T + bias.T, cell, 1)


def log_and_sign(gradient: Array, axis: int) -> Array:
    scale = jnp.exp(10.0)
    logs = jnp.log(jnp.maximum(jnp.abs(gradient), 1 / scale)) / 10
    return jnp.stack([logs, jnp.clip(gradient * scale, -1, 1)], axis)


def total_loss(weights: Weights, start: Array, design: Array, target: Array, last: bool) -> Array:
    """Losses of steps 1 .. H, added up, mean over problems."""
    cell: Cell = columns_last if last else columns_first
    axis, columns = (0, start.size) if last else (1, start.size)
    size = weights["output"].shape[1]

    def losses(theta: Array) -> Array:
        residual = jnp.einsum("lnd,ld->ln", design, theta) - target
        return (residual**2).sum(-1)

    def step(carry: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], Array]:
        theta, *state = carry
        gradient = lax.stop_gradient(jax.grad(lambda theta: losses(theta).sum())(theta))
        inputs = log_and_sign(gradient.reshape(-1), axis)
        first = cell(inputs, state[0], state[1], weights["weight0"], weights["bias0"])
        second = cell(first[0], state[2], state[3], weights["weight1"], weights["bias1"])
        made = weights["output"] @ second[0] if last else second[0] @ weights["output"].T
        theta = theta + made.reshape(theta.shape)
        return (theta, *first, *second), losses(theta).mean()

    def segment(carry: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], Array]:
        carry, found = lax.scan(step, lax.stop_gradient(carry), None, SEGMENT)
        return carry, found.sum()

    zero = jnp.zeros((size, columns) if last else (columns, size))
    _, found = lax.scan(segment, (start, zero, zero, zero, zero), None, HORIZON // SEGMENT)
    return found.sum()


def compare(num: int) -> dict[str, Any]:
    torch.manual_seed(0)
    optimizee, rule = problems("quadratic", num, dim=DIMENSION), RULES["lstm"]()
    assert isinstance(optimizee, LinearModel)
    cells = list(rule.cells)
    weights = {
        f"{name}{k}": jnp.asarray(getattr(cell, name).detach().numpy())
        for k, cell in enumerate(cells)
        for name in ("weight", "bias")
    }
    weights["output"] = jnp.asarray(rule.output.weight.detach().numpy())
    given = [jnp.asarray(part.numpy()) for part in (optimizee.theta0["theta"], optimizee.design, optimizee.target)]
    in_jax = {
        name: jax.jit(jax.value_and_grad(partial(total_loss, last=last)))
        for name, last in (("JAX, columns last", True), ("JAX, columns first", False))
    }

    def ours(compiled: bool) -> torch.Tensor:
        rule.zero_grad()
        unrolling = Unrolling(truncate=SEGMENT, through_path=True, compiled=compiled)
        loss = unroll(rule, optimizee, HORIZON, unrolling).nll[1:].sum(0).mean()
        loss.backward()
        return loss.detach()

    first_calls: dict[str, float] = {}
    answers: dict[str, float] = {}
    derivatives: dict[str, torch.Tensor] = {}
    ways: dict[str, Callable[[], Any]] = {"probact": partial(ours, False), "probact, compiled": partial(ours, True)}
    for name, run in in_jax.items():
        ways[name] = lambda run=run: jax.block_until_ready(run(weights, *given))
    for name, way in ways.items():
        begun = time.perf_counter()
        answer = way()
        first_calls[name] = time.perf_counter() - begun
        in_torch = isinstance(answer, torch.Tensor)
        answers[name] = float(answer if in_torch else answer[0])
        found = cells[0].weight.grad if in_torch else torch.tensor(jax.device_get(answer[1]["weight0"]))
        derivatives[name] = found.clone()
    reference = derivatives["probact"]
    apart = {name: float((found - reference).norm() / reference.norm()) for name, found in derivatives.items()}
    seconds = timed(ways)
    fastest = min(in_jax, key=lambda name: statistics.median(seconds[name]))
    return {
        "first_call_seconds": first_calls,
        "loss": answers,
        "derivative_apart": apart,
        "ms_a_step": {name: 1e3 * statistics.median(rows) / HORIZON for name, rows in seconds.items()},
        "fastest_in_jax": fastest,
        "times_jax": {name: ratio(seconds[fastest], rows) for name, rows in seconds.items()},
    }


def main() -> None:
    torch.set_num_threads(1)
    answer = {
        "threads": 1,
        "versions": {"jax": jax.__version__, "torch": torch.__version__},
        "problem": f"quadratic, d {DIMENSION}, H {HORIZON}, truncated at {SEGMENT}, LSTM 2 x 20, forward and backward",
        **{f"L {num}": compare(num) for num in (125, 1000)},
    }
    write_atomically(RESULTS / "speed-jax.json", json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
