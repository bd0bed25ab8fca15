"""Is it training that the stop of ``gp-1d`` lacks?  Its head goes on learning, on recorded paths of its search.

    python benchmarks/search_recorded.py               # writes benchmarks/results/search-recorded.json
    python benchmarks/search_recorded.py --page        # writes what was found into docs/black-box.md

The queries do not depend on the head: so the paths are recorded once, and an update of the head costs hundredths of a
second.  Functions are of training's streams, not those of any other table.  Thresholds are tuned on some of the
functions at each price, J is of the others.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from pages import FOLDER, RESULTS, fill, number, read, table, with_error
from search import PRICES, SETTINGS, in_unit

from probact.inference.posteriors.base import HaltingPosterior
from probact.judging.stops import own_verdict, shares, verdicts
from probact.judging.trajectory import Trajectory
from probact.problems.black_box import Regret
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer
from probact.stopping.base import Known
from probact.support.files import write_atomically
from probact.support.randomness import random_stream
from probact.unrolling.rollout import Rollout, returned

OUT = RESULTS / "search-recorded.json"
CHUNK, BATCH, LR = 256, 256, 0.004
LEARNED_ON, TUNED_ON, JUDGED_ON = 6144, 512, 1024
COST = 0.0514
"""Nats that a step costs at ``gp-1d``: where the KL scale is another, nu is too, so that the price is the same."""
WAYS: dict[str, tuple[int, float]] = {"as shipped": (0, 0.05), "600 updates": (600, 0.05), "600, sharper": (600, 0.02)}
"""Updates, and their KL scale."""


class Paths(NamedTuple):
    """Recorded searches: what their head sees, and what stopping returns; with the problems, but of training's."""

    rollout: Rollout
    problems: Regret | None = None


def recorded(trained: TrainedOptimizer, num: int, seed: int, **settings: Any) -> Paths:
    """``num`` functions at the price of ``settings``."""
    experiment = Experiment.create(family="gp-1d", **settings)
    objective, family = build_objective(experiment), experiment.build_family()
    objective.rule = trained.rule
    parts, problems = [], None
    with torch.no_grad():
        for place in range(num // CHUNK):
            problems = family.sample(CHUNK, random_stream("train", seed, place))
            rollout = objective.unroll(problems)
            nll = returned(rollout.nll, trained.rule, problems, None)
            parts.append((nll, rollout.features, problems.price, problems.scale, problems.lowest))
    nll, features = (torch.cat([part[place] for part in parts], 1) for place in (0, 1))
    price, scale, lowest = (torch.cat([part[place] for part in parts]) for place in (2, 3, 4))
    assert isinstance(problems, Regret)
    problems = Unit({"x": lowest.unsqueeze(-1)}, lowest, price, scale)
    return Paths(Rollout(nll, features, {}), problems)


class Unit(Regret):
    """The unit and the prices of functions that are not asked any more."""

    def value(self, params: Any) -> torch.Tensor:
        raise NotImplementedError


def learned(head: HaltingPosterior, paths: Paths, updates: int, kl_scale: float) -> HaltingPosterior:
    """A copy of ``head`` after so many updates more."""
    nu = math.exp(-COST / kl_scale)
    objective: Any = build_objective(Experiment.create(family="gp-1d", prior_nu=nu, kl_scale=kl_scale)).train()
    objective.posterior = head = copy.deepcopy(head).requires_grad_()
    objective.rule.requires_grad_(False)
    optimizer, random = torch.optim.Adam(head.parameters(), lr=LR), torch.Generator().manual_seed(0)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = LR * 0.5 * (1 + math.cos(math.pi * update / updates))
        some = torch.randint(paths.rollout.nll.shape[1], (BATCH,), generator=random)
        loss = objective.score(Rollout(paths.rollout.nll[:, some], paths.rollout.features[:, some], {}))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
    return head.requires_grad_(False)


def judged(head: HaltingPosterior, paths: Paths, cost: float) -> dict[str, Any]:
    """J at the own stop, and its share of the way from budget to hindsight."""
    test, tuning = (path_of(head, paths, some) for some in (slice(TUNED_ON, None), slice(TUNED_ON)))
    found = verdicts(test, tuning, cost)
    own = own_verdict(found)
    assert paths.problems is not None
    J = in_unit(own.J, paths.problems.select(torch.arange(TUNED_ON, TUNED_ON + JUDGED_ON)))
    share = next(share for one, share in zip(found, shares(found), strict=True) if one is own)
    return {
        "J": [round(value, 5) for value in J.tolist()],
        "share": share,
        "queries": float(own.stop.double().mean()),
        "stop": own.describe(),
    }


def path_of(head: HaltingPosterior, paths: Paths, some: slice) -> Trajectory:
    """As ``record`` would have it, of the functions ``some``."""
    nll, features = paths.rollout.nll[:, some].double(), paths.rollout.features[:, some]
    hidden, halted, known = None, torch.zeros(nll.shape[1]), []
    with torch.no_grad():
        for step, seen in enumerate(features, 1):
            logit, hidden = head.step(seen, hidden)
            hazard = head.distribution.hazard(logit, halted)
            halted = halted + (1 - halted) * hazard
            known.append(Known(step, nll[step], 0 * nll[step], hazard.double(), halted.double()))
    return Trajectory(nll, known, {})


def run() -> None:
    trained = TrainedOptimizer.load_named("gp-1d")
    assert trained.posterior is not None
    options = dict([SETTINGS[1].split("=")])
    learning = recorded(trained, LEARNED_ON, 500, family_options=options)
    tests = {price: recorded(trained, TUNED_ON + JUDGED_ON, 600, price=price) for price in PRICES}
    rows = []
    for way, (updates, kl_scale) in WAYS.items():
        head = learned(trained.posterior, learning, updates, kl_scale)
        rows += [{"way": way, "price": price, **judged(head, paths, COST)} for price, paths in tests.items()]
        print([(row["way"], row["price"], row["share"]) for row in rows[-len(tests) :]], flush=True)
        write_atomically(OUT, json.dumps({"learned_on": LEARNED_ON, "rows": rows}, indent=1) + "\n")


def less(rows: Sequence[dict[str, Any]], row: dict[str, Any]) -> str:
    """How much less J is than as shipped, paired."""
    first = next(one for one in rows if one["price"] == row["price"])
    if row["way"] == first["way"]:
        return "-"
    saved = torch.tensor(first["J"]) - torch.tensor(row["J"])
    return with_error(float(saved.mean()), float(saved.std() / len(saved) ** 0.5))


def write_page() -> None:
    path, rows = FOLDER.parent / "docs" / "black-box.md", read("search-recorded")["rows"]
    cells = []
    for row in sorted(rows, key=lambda row: row["price"]):
        J = number(sum(row["J"]) / len(row["J"]))
        rest = number(row["queries"], 3), number(row["share"], 2)
        cells.append([f"{row['price']:g}", row["way"], J, less(rows, row), *rest])
    columns = ["price", "head", "J", "less than as shipped", "queries", "share"]
    fill(path, {"recorded": table(columns, cells)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the last result into docs/black-box.md")
    write_page() if parser.parse_args().page else run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
