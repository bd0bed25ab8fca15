"""Tunes PonderNet and ACT each in its own recipe, for ``loops.py``: adds to ``results/loops-rivals.jsonl``.

    python benchmarks/loops_rivals.py tune [NAME ...]   # RECIPES from --seed 10; what is there is left alone
    python benchmarks/loops_rivals.py show              # all of them
    python benchmarks/loops_rivals.py judge             # JUDGED from seeds 0, 1, 2: loops-{pondernet-b,act-g}.json

Run it in the root of the project.  A recipe is the rival's own constants, learning rate and growth of unrolls; ACT may
begin with a network that PonderNet has taught, as from scratch its halting collapses on the first step.  Trained on 1
to 8 non-zeros as ``half`` is, until learned (``loops.fit``), or what began with a network for 400 meta-steps.  The stop
of all is tuned at one price.  Seeds 0, 1, 2 and the problems of ``loops.TESTS`` are for judging ``JUDGED``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from loops import ACT, CAP, HALF, PRICED, Plan, command, fit, judged, row_of, write_rows
from loops_tables import EXTRAPOLATED, RIVALS_RESULT
from pages import lines

from probact.judging.problem_sets import held_out_problems
from probact.judging.stops import own_kinds, tuned_stop
from probact.problems.base import FAMILIES
from probact.runs.run import Run
from probact.support.randomness import random_stream

STEPS, NUM = 24, 1024


def pondernet(beta: float, step_probability: float, **others: Any) -> dict[str, Any]:
    """beta and lambda_p of Banino, Balaguer, Blundell 2021, and how it is trained."""
    return {"prior_nu": 1 - step_probability, "kl_scale": beta, **others}


def act(tau: float, **others: Any) -> dict[str, Any]:
    """tau of Graves 2016, and how it is trained; ``kl_warmup`` lets tau rise from 0."""
    return {**ACT, "ponder_cost": tau, **others}


def begun(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """With the folder of the recipe that it begins with, from the same seed."""
    if "begin_with" not in settings:
        return settings
    return {**settings, "begin_with": f"runs/loops/rival-{settings['begin_with']}-{seed}"}


RECIPES: dict[str, dict[str, Any]] = {
    "pondernet-a": pondernet(0.01, 0.2, curriculum=0),
    "pondernet-b": pondernet(0.1, 0.1),
    "pondernet-c": pondernet(0.03, 0.2, curriculum=0),
    "act-a": act(0.001, curriculum=0),
    "act-b": act(0.003, curriculum=0, log_loss_weight=0.1),
    "act-c": act(0.003, log_loss_weight=1.0),
    "act-d": act(0.01, begin_with="pondernet-a", meta_steps=400, curriculum=0),
    "act-e": act(0.03, begin_with="pondernet-a", meta_steps=400, curriculum=0),
    "act-f": act(0.003, begin_with="pondernet-a", meta_steps=400, curriculum=0),
    "act-g": act(0.01, begin_with="pondernet-b", meta_steps=400, curriculum=0),
}


JUDGED = ("pondernet-b", "act-g")
"""With PonderNet's own constants, ``a``, a training got stuck; in ``b`` unrolls grow, and ACT begins with that."""


def trained(name: str, seed: int, runs: Path) -> Run:
    """One recipe from one seed, after what it begins with."""
    first = RECIPES[name].get("begin_with")
    if first:
        trained(first, seed, runs)
    folder = f"rival-{name}-{seed}"
    given = begun({**HALF, "meta_steps": CAP, **RECIPES[name]}, seed)
    fit(folder, runs, Plan(given, (seed,), until_learned=first is None))
    return Run.open(runs / folder)


def judge(name: str, runs: Path) -> None:
    """A recipe from seeds 0, 1, 2: ``results/loops-NAME.json``, written after each."""
    made: list[dict[str, Any]] = []
    for seed in (0, 1, 2):
        run = trained(name, seed, runs)
        made.append(row_of(run.chains[0], replace(run.experiment, **PRICED), [EXTRAPOLATED]))
        write_rows(name, run, made)


def measure(name: str, seed: int, runs: Path) -> None:
    """Train and test one recipe from one seed, if it is not done."""
    if any((row["recipe"], row["seed"]) == (name, seed) for row in lines(RIVALS_RESULT)):
        return
    chain = trained(name, seed, runs).chains[0]
    settings, one = chain.experiment, chain.trained()
    stop = tuned_stop(one, replace(settings, **PRICED), own_kinds(followed=True, sees_gradient=False))
    own: Any = held_out_problems(settings, NUM)
    far: Any = FAMILIES.build("parity", {"nonzero": "9:16"}).sample(NUM, random_stream("test", 2))
    near, beyond = judged(one, stop, own, settings.horizon), judged(one, stop, far, STEPS)
    keys = ("accuracy", "steps", "log_loss", "rank_correlation")
    row = {
        "recipe": name,
        "seed": seed,
        "settings": RECIPES[name],
        "meta_steps": len(chain.records()),
        "seconds": sum(record["seconds"] for record in chain.records()),
        "stop": stop.describe(),
        "own": {key: near[key] for key in keys},
        "far": {key: beyond[key] for key in keys},
    }
    with RIVALS_RESULT.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(f"{name}, seed {seed}: {near['accuracy']:.1%}, {beyond['accuracy']:.1%} beyond, {near['steps']:.2f} steps")


def main() -> None:
    given = command(("tune", "show", "judge"), [*RECIPES]).parse_args()
    if given.what == "tune":
        for name, seed in product(given.names or RECIPES, given.seed):
            measure(name, seed, given.runs)
    elif given.what == "judge":
        for name in given.names or JUDGED:
            judge(name, given.runs)
    else:
        for row in lines(RIVALS_RESULT):
            print(row["recipe"], row["seed"], row["meta_steps"], row["own"], row["far"])


if __name__ == "__main__":
    main()
