"""What seeing x and returning the best look are worth to a learned stop: writes ``results/looks-<name>.json``.

    python benchmarks/looks.py digits-mixed       # or others of RUNS
    python benchmarks/looks.py prices             # one head for a range of prices, on mixed: results/looks-prices.json

The rules here have no weights, so that their paths do not depend on the head: they are made once, kept in ``runs/``,
and every head is trained on them, on other minibatches and from other weights for each seed.  Training, tuning and test
problems are those of ``fit``.  J is the loss that stopping returns + the price of a step * steps.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from probact.inference.objectives.base import Objective
from probact.inference.price import nu_of
from probact.judging.problem_sets import held_out_problems, tuning_problems
from probact.judging.stops import own_verdict, shares, verdicts
from probact.judging.trajectory import Trajectory
from probact.judging.tuning import with_tuned_rate
from probact.problems.base import Optimizee
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.stopping.base import Known
from probact.support.files import write_atomically
from probact.support.randomness import random_stream
from probact.support.statistics import rank_correlation
from probact.unrolling.rollout import Rollout, returned, rollout_of
from probact.unrolling.walk import Walk, rows

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
SEEDS = (0, 1, 2)
WAYS = {"steps": {}, "looks": {"looks": True}, "looks and recall": {"looks": True, "recall": True}}
COMMON = {"halting": "stick-breaking", "halting_first": True}
SHARP = {"kl_scale": 0.05, "prior_nu": 0.3584859224}
"""A price of -log .95 nats, for a posterior sharpened twentyfold."""


class Plan(NamedTuple):
    """A family, how its heads are trained, and on how many problems they are judged."""

    settings: dict[str, Any]
    num_train: int
    num_test: int
    updates: int = 600
    batch: int = 64
    ways: tuple[str, ...] = tuple(WAYS)


NAG = {"rule": "nag", "rule_options": {"lr": 1.0}, "validation_problems": 48}
DEAR = {"prior_nu": nu_of(1.0)}
CONVEX = {"horizon": 100, "validation_problems": 512}
RUNS = {
    "digits-mixed": Plan({"family": "digits-mixed", "horizon": 100, **NAG, **DEAR}, 1536, 256),
    "mnist": Plan(
        {"family": "mnist", "horizon": 50, **NAG, **DEAR, "validation_problems": 12},
        120,
        48,
        200,
        ways=("looks and recall", "steps"),
    ),
    "mixed": Plan({"family": "mixed", "rule": "lbfgs", **CONVEX, **SHARP}, 8192, 4096, 400, 128, ("looks and recall",)),
    "logistic-mixed": Plan(
        {"family": "logistic-mixed", "rule": "adam", **CONVEX, **SHARP}, 8192, 4096, 400, 128, ("looks and recall",)
    ),
}
LOW_TO_HIGH = (0.00164, 0.0519, 1.64)
"""Prices of a step, in nats, at which one head for all between the outer two is set beside a head for each."""


class Paths(NamedTuple):
    """Of N problems: loss on x ``(K + 1, N)``, what the rule tells ``(K + 1, N, F')``, signals ``(K + 1, 4, N)``."""

    nll: Tensor
    of_rule: Tensor
    signals: Tensor

    def select(self, index: Tensor) -> Paths:
        return Paths(self.nll[:, index], self.of_rule[:, index], self.signals[..., index])


def walked(objective: Objective, parts: Iterator[Optimizee], kept: Path) -> Paths:
    """The paths of the rule on the problems of all ``parts``; read from the file ``kept`` if it is there."""
    if kept.exists():
        return Paths(*torch.load(kept))
    tables = []
    for part in parts:
        with torch.no_grad():
            table = [*rows(Walk(objective.rule, part), objective.prior.horizon + 1)]
        tables.append([torch.stack(column) for column in zip(*table, strict=True)])
        print(f"{kept.stem}: {sum(one[0].shape[1] for one in tables)} problems", flush=True)
    nll, of_rule, signals = zip(*tables, strict=True)
    paths = Paths(torch.cat(nll, 1), torch.cat(of_rule, 1), torch.cat(signals, -1))
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tuple(paths), kept)
    return paths


def in_parts(problems: Optimizee, size: int) -> Iterator[Optimizee]:
    for part in torch.arange(problems.num).split(size):
        yield problems.select(part)


def paths_of(name: str, experiment: Experiment) -> dict[str, Paths]:
    plan, objective = RUNS[name], build_objective(experiment)
    family, size = experiment.build_family(), 24 if experiment.rule == "nag" else 1024
    train = (family.sample(size, random_stream("train", 0, k)) for k in range(plan.num_train // size))
    folder = ROOT / "runs" / f"looks-{name}"
    found = {"train": walked(objective, train, folder / "train.pt")}
    for what, problems in (
        ("tuning", tuning_problems(experiment)),
        ("test", held_out_problems(experiment, plan.num_test, 0)),
    ):
        found[what] = walked(objective, in_parts(problems, size), folder / f"{what}.pt")
    return found


def rollout(objective: Objective, paths: Paths, problems: Optimizee) -> Rollout:
    """As if the objective had unrolled."""
    looks = objective.unrolling.looks
    nll = paths.nll if looks is not None else returned(paths.nll, objective.rule, problems)
    return rollout_of(nll, paths.of_rule, paths.signals, {}, problems, looks=looks)._replace(
        optimizee=None, optimum=None
    )


def trained(experiment: Experiment, paths: Paths, plan: Plan, one: Optimizee) -> Objective:
    """The objective, its head trained by Adam on minibatches of ``paths``; of its weights those that validate best.

    An eighth of the problems is for validation.  With a range of prices each minibatch has one at random.
    """
    objective = build_objective(experiment)
    assert objective.posterior is not None
    num, random = paths.nll.shape[1], random_stream("train", experiment.seed)
    order = torch.randperm(num, generator=random)
    valid, train = order[: num // 8], order[num // 8 :]
    whole = rollout(objective, paths, one)

    def loss_on(index: Tensor, share: float) -> Tensor:
        if not experiment.prior_nu_range:
            part = whole._replace(nll=whole.nll[:, index], features=whole.features[:, index])
            return objective.losses(part.finite()).mean()
        at = experiment.at_price(share)
        priced = objective.at(at.build_prior(), at.build_looks())
        return priced.losses(rollout(priced, paths.select(index), one)).mean()

    optimizer = torch.optim.Adam(objective.posterior.parameters(), lr=experiment.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.updates)
    best, weights = math.inf, dict[str, Tensor]()
    for update in range(plan.updates):
        some = train[torch.randint(len(train), (plan.batch,), generator=random)]
        loss = loss_on(some, torch.rand((), generator=random).item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.posterior.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (update + 1) % 50 == 0:
            with torch.no_grad():
                found = sum(loss_on(valid, share).item() for share in (0.0, 0.5, 1.0))
            if found < best:
                best, weights = found, {key: value.clone() for key, value in objective.posterior.state_dict().items()}
    objective.posterior.load_state_dict(weights)
    return objective.eval()


def trajectory(objective: Objective, paths: Paths, problems: Optimizee) -> Trajectory:
    """What ``judging.trajectory.record`` gives."""
    assert objective.posterior is not None
    looks = objective.unrolling.looks
    with torch.no_grad():
        hazard = torch.sigmoid(objective.posterior(rollout(objective, paths, problems).features).logits)
    halted = 1 - (1 - hazard.double()).cumprod(0)
    loss = (paths.signals[:, 0] if looks is None else paths.nll)[1:].double()
    norm = paths.signals[1:, 1].sqrt().double()
    known = [Known(step + 1, *row) for step, row in enumerate(zip(loss, norm, hazard.double(), halted, strict=True))]
    nll = returned(paths.nll, objective.rule, problems, looks).double()
    return Trajectory(nll, known, {})


def judged(objective: Objective, paths: dict[str, Paths], problems: Optimizee, price: float) -> dict[str, Any]:
    test, tuning = (trajectory(objective, paths[what], problems) for what in ("test", "tuning"))
    found = verdicts(test, tuning, price)
    best = next(verdict for verdict in found if verdict.kind == "oracle").stop.numpy()
    by_kind = {}
    for verdict, share in zip(found, shares(found), strict=True):
        stop = verdict.stop.numpy()
        correlation = rank_correlation(stop, best) if stop.std() else math.nan
        by_kind[verdict.kind] = {
            "rule": verdict.describe(),
            "J": float(verdict.J.mean()),
            "share": share,
            "steps": float(stop.mean()),
            "steps_sd": float(stop.std()),
            "rank_correlation": correlation,
        }
    own = own_verdict(found).kind
    return {"own": by_kind[own], "own_kind": own, **by_kind}


def measure(name: str) -> None:
    plan = RUNS[name]
    base = with_tuned_rate(Experiment.create(**COMMON, **{"lr": 0.01, **plan.settings}))
    paths = paths_of(name, base)
    one = base.build_family().sample(2, random_stream("train", 0))
    result: dict[str, Any] = {"settings": plan.settings, "price": base.step_cost, "num_test": plan.num_test, "ways": {}}
    result["num_train"] = paths["train"].nll.shape[1]
    for way in plan.ways:
        seeds = []
        for seed in SEEDS:
            experiment = replace(base, seed=seed, **WAYS[way])
            objective = trained(experiment, paths["train"], plan, one)
            seeds.append(judged(objective, paths, one, base.step_cost))
            own = seeds[-1]["own"]
            print(f"{name}, {way}, seed {seed}: {own}, oracle {seeds[-1]['oracle']}", flush=True)
            result["ways"][way] = {"by_seed": seeds, "J": float(np.mean([one["own"]["J"] for one in seeds]))}
            RESULTS.mkdir(exist_ok=True)
            write_atomically(RESULTS / f"looks-{name}.json", json.dumps(result, indent=1) + "\n")


def measure_prices() -> None:
    """Of the head for all prices, J beside that of a head for each, and the difference as a share of what is to gain.

    To gain is the loss at the start less J of the best step in hindsight.
    """
    plan = RUNS["mixed"]
    base = with_tuned_rate(Experiment.create(**COMMON, **WAYS["looks and recall"], **{"lr": 0.01, **plan.settings}))
    nus = [nu_of(price, base.kl_scale) for price in LOW_TO_HIGH]
    paths = paths_of("mixed", base)
    one = base.build_family().sample(2, random_stream("train", 0))
    result: dict[str, Any] = {"settings": plan.settings, "prices": LOW_TO_HIGH, "by_seed": []}
    start = float(paths["test"].nll[0].double().mean())
    for seed in SEEDS:
        wide = replace(base, seed=seed, prior_nu_range=(nus[-1], nus[0]))
        for_all, rows = trained(wide, paths["train"], plan._replace(updates=2 * plan.updates), one), []
        for price, nu in zip(LOW_TO_HIGH, nus, strict=True):
            at, alone = replace(wide, prior_nu=nu), replace(base, seed=seed, prior_nu=nu)
            shared = judged(for_all.at(at.build_prior(), at.build_looks()), paths, one, price)
            own = judged(trained(alone, paths["train"], plan, one), paths, one, price)
            gain = start - own["oracle"]["J"]
            lost = (shared["own"]["J"] - own["own"]["J"]) / gain
            rows.append({"price": price, "for all": shared, "for this price": own, "gain": gain, "share_lost": lost})
            print(f"prices, seed {seed}, {price}: {shared['own']}, {own['own']}, lost {lost:.4f}", flush=True)
        result["by_seed"].append(rows)
        write_atomically(RESULTS / "looks-prices.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    chosen = sys.argv[1:]
    if not chosen or any(name not in {*RUNS, "prices"} for name in chosen):
        sys.exit(f"Error: expected one or more of: {', '.join(RUNS)}, prices")
    for one_name in chosen:
        measure_prices() if one_name == "prices" else measure(one_name)
