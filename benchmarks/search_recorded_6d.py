"""Does more training make ``gp-6d`` surer after twice its queries?  Its head goes on learning, on recorded paths.

    python benchmarks/search_recorded_6d.py            # writes benchmarks/results/search-recorded-6d.json
    python benchmarks/search_recorded_6d.py --page     # writes what was found into docs/black-box.md

As ``search_recorded.py`` has it.  What is asked does not depend on the price either, so a path is recorded once, at
the lowest price, and seen at any.  The head is set beside what ships on further functions of training's streams, and
on those that ``search.py`` judges and tunes on.  Recordings and heads are kept in runs/.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import search_recorded
import torch
from pages import FOLDER, RESULTS, fill, number, read, table
from search import PRICES, sets
from search_recorded import COST, less, path_of

from probact.inference.posteriors.base import HaltingPosterior
from probact.judging.stops import own_verdict, verdicts
from probact.judging.trajectory import Trajectory
from probact.rules.base import UpdateRule
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer
from probact.support.files import write_atomically
from probact.support.randomness import random_stream
from probact.training.schedule import drawn_horizon
from probact.unrolling.progress import signed_log
from probact.unrolling.rollout import Rollout, unroll

OUT, KEPT = RESULTS / "search-recorded-6d.json", FOLDER.parent / "runs" / "search-recorded-gp-6d"
FAMILY, HORIZON, TWICE, CHUNK, BATCH, LR = "gp-6d", 60, 120, 32, 128, 0.004
LOW, HIGH = 0.0029, 0.034
"""Prices of training."""
LEARNED_ON, TRIED_ON, JUDGED_ON = 544, 160, 40
WAYS = {"as shipped": 0, (LAST := "600 updates"): 600}
SPREADS, GAINED, PRICED = 1, 2, 5
"""Places of ``lstm-search``'s features; the first is a third of the log of the expected improvement in prices."""
NATS = {16: 1 / 3, 19: 1.0, 20: 1.0, 21: 1 / 3, 22: 1.0}
"""Of the features of progress those that are ``signed_log`` of nats, with their scale; ``SIZE`` is of a drop's log."""
SIZE = 27


class Paths(NamedTuple):
    """Recorded at the price ``LOW``: ``nll (K + 1, L)``, ``features (K, L, F)`` and ``scale (L,)``, in so many CPU
    seconds."""

    nll: torch.Tensor
    features: torch.Tensor
    scale: torch.Tensor
    seconds: float = 0.0

    def some(self, which: torch.Tensor) -> Paths:
        return Paths(self.nll[:, which], self.features[:, which], self.scale[which])

    def at(self, price: torch.Tensor) -> Paths:
        """The same at ``price (L,)``, not below ``LOW``."""
        ratio = price / LOW
        scale = self.scale * ratio
        nll = (self.nll - (2 * self.scale).log()) / ratio + (2 * scale).log()
        old, new = self.features, self.features.clone()
        unknown = (old[..., PRICED] == 0) & (old[..., SPREADS] == 0)
        less = torch.where(unknown, 0, ratio.log() / 3)
        new[..., 0] = (old[..., 0] - less).clamp_min(-4)
        new[..., PRICED] = old[..., PRICED] - less
        new[..., GAINED] = torch.log1p(old[..., GAINED].expm1() / ratio)
        for place, unit in NATS.items():
            value = old[..., place] / unit
            new[..., place] = unit * signed_log(value.sign() * value.abs().expm1() / ratio)
        size = ((3 * old[..., SIZE]).exp() - 1e-8).clamp_min(0)
        new[..., SIZE] = (size / ratio + 1e-8).log() / 3
        return Paths(nll, new, scale)

    def seen_by(self, head: HaltingPosterior) -> Trajectory:
        return path_of(head, search_recorded.Paths(Rollout(self.nll, self.features, {})), slice(None))


def recorded(rule: UpdateRule, name: str, num: int, sampled: Callable[[int], Any]) -> Paths:
    """``num`` functions, ``CHUNK`` at a time of ``sampled``; what has been recorded is read."""
    KEPT.mkdir(parents=True, exist_ok=True)
    parts = []
    for place in range(math.ceil(num / CHUNK)):
        path = KEPT / f"{name}-{place}.pt"
        if not path.exists():
            problems = sampled(place)
            begun = time.process_time()
            with torch.no_grad():
                rollout = unroll(rule, problems, TWICE)
            torch.save((rollout.nll, rollout.features, problems.scale, time.process_time() - begun), path)
        parts.append(torch.load(path))
    nll, features = (torch.cat([part[which] for part in parts], 1) for which in (0, 1))
    return Paths(nll, features, torch.cat([part[2] for part in parts]), sum(part[3] for part in parts))


def learned(head: HaltingPosterior, paths: Paths, updates: int) -> HaltingPosterior:
    """A copy of ``head`` after so many updates more: prices and horizons are drawn as in its training."""
    settings = Experiment.create(family=FAMILY, horizon=TWICE, horizon_from=HORIZON)
    objective: Any = build_objective(settings).train()
    objective.posterior = head = copy.deepcopy(head).requires_grad_()
    objective.rule.requires_grad_(False)
    optimizer, random = torch.optim.Adam(head.parameters(), lr=LR), torch.Generator().manual_seed(0)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = LR * 0.5 * (1 + math.cos(math.pi * update / updates))
        price = LOW * (HIGH / LOW) ** torch.rand(BATCH, generator=random)
        horizon = drawn_horizon(float(torch.rand(1, generator=random)), TWICE, HORIZON)
        some = paths.some(torch.randint(len(paths.scale), (BATCH,), generator=random)).at(price)
        loss = objective.capped(horizon).score(Rollout(some.nll[: horizon + 1], some.features[:horizon], {}))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
    return head.requires_grad_(False)


def cut(path: Trajectory, which: torch.Tensor) -> Trajectory:
    """The functions ``which`` up to ``HORIZON`` queries."""
    known = [one.map(lambda values: values[which]) for one in path.known[:HORIZON]]
    return Trajectory(path.nll[: HORIZON + 1, which], known, {})


def judged(head: HaltingPosterior, paths: Paths, parts: list[tuple[torch.Tensor, torch.Tensor]], price: float) -> Any:
    """Hazards of all, and J at the own stop of the functions of each of ``parts``, tuned on others: (test, tuning)."""
    paths = paths.at(torch.full_like(paths.scale, price))
    path = paths.seen_by(head)
    J, queries = [], []
    for test, tuning in parts:
        own = own_verdict(verdicts(cut(path, test), cut(path, tuning), COST))
        scale = paths.scale[test].double()
        J += ((own.J - (2 * scale).log()) * scale).tolist()
        queries += own.stop.double().tolist()
    tested = torch.cat([test for test, _ in parts])
    at_h, at_2h = (path.known[step - 1].hazard[tested] for step in (HORIZON, TWICE))  # type: ignore[index]
    return {
        "price": price,
        "J": [round(value, 5) for value in J],
        "queries": sum(queries) / len(queries),
        "hazard_at_H": float(at_h.mean()),
        "hazard_at_2H": float(at_2h.mean()),
    }


def head_of(way: str) -> tuple[HaltingPosterior, float]:
    """As it was kept, and CPU seconds of its updates."""
    head, seconds = TrainedOptimizer.load_named(FAMILY).posterior, 0.0
    assert head is not None
    if WAYS[way]:
        weights, seconds = torch.load(KEPT / f"head-{WAYS[way]}.pt")
        head.load_state_dict(weights)
    return head.requires_grad_(False), seconds


def run() -> None:
    trained = TrainedOptimizer.load_named(FAMILY)
    assert trained.posterior is not None
    rule, settings = trained.rule, Experiment.create(family=FAMILY, price=LOW)
    family = settings.build_family()
    trying = recorded(rule, "600", TRIED_ON, lambda at: family.sample(CHUNK, random_stream("train", 600, at)))
    learning = recorded(rule, "500", LEARNED_ON, lambda at: family.sample(CHUNK, random_stream("train", 500, at)))
    first, second = torch.arange(TRIED_ON).chunk(2)
    rows = []
    for way, updates in WAYS.items():
        if updates and not (KEPT / f"head-{updates}.pt").exists():
            begun = time.process_time()
            weights = learned(trained.posterior, learning, updates).state_dict()
            torch.save((weights, time.process_time() - begun), KEPT / f"head-{updates}.pt")
        for price in PRICES:
            rows.append({"way": way, **judged(head_of(way)[0], trying, [(first, second), (second, first)], price)})
            print({key: value for key, value in rows[-1].items() if key != "J"}, mean(rows[-1]), flush=True)
    tests, tuning = sets(settings, JUDGED_ON)
    one = recorded(rule, "test", 1, lambda _: tests)
    other = recorded(rule, "tuning", 1, lambda _: tuning)
    nll, features = torch.cat([one.nll, other.nll], 1), torch.cat([one.features, other.features], 1)
    both = Paths(nll, features, torch.cat([one.scale, other.scale]))
    split = [(torch.arange(JUDGED_ON), torch.arange(JUDGED_ON, JUDGED_ON * 3 // 2))]
    beside = [{"way": way, **judged(head_of(way)[0], both, split, price)} for way in WAYS for price in PRICES]
    for row in beside:
        print({key: value for key, value in row.items() if key != "J"}, mean(row), less(beside, row), flush=True)
    minutes = (learning.seconds + head_of(LAST)[1]) / 60
    result = {"learned_on": LEARNED_ON, "minutes": minutes, "training": rows, "judged": beside}
    write_atomically(OUT, json.dumps(result, indent=1) + "\n")


def mean(row: dict[str, Any]) -> float:
    return float(sum(row["J"]) / len(row["J"]))


def write_page() -> None:
    path, result = FOLDER.parent / "docs" / "black-box.md", read("search-recorded-6d")
    cells = []
    for name, rows in (("training", result["training"]), ("the tables", result["judged"])):
        for row in sorted(rows, key=lambda row: row["price"]):
            hazards = (number(row[f"hazard_at_{step}"], 2) for step in ("H", "2H"))
            values = number(mean(row)), less(rows, row), number(row["queries"], 3)
            cells.append([name, f"{row['price']:g}", row["way"], *hazards, *values])
    columns = ["functions of", "price", "head", "hazard at H", "at 2 H", "J", "less than as shipped", "queries"]
    fill(path, {"recorded-6d": table(columns, cells)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the last result into docs/black-box.md")
    write_page() if parser.parse_args().page else run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
