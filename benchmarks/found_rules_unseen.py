"""The best rules of ``found_rules.py`` on families that no search saw, for it: ``results/found-rules-unseen.jsonl``.

    python benchmarks/found_rules_unseen.py judge [FAMILY ...]     # what is there is left alone

Rules are chosen on *digits* alone (``FOUND``).  Every rule, found or known, has its rate tuned alike: seven of
``COARSE``, then those between the best one and its neighbours, by the validation loss of ``TUNED_ON`` networks.  Then
``JUDGED_ON`` new networks, the same for all rules, so that differences between rules are paired.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, NamedTuple

import torch
from found_rules import KNOWN, RESULTS, losses
from pages import lines

from probact.problems.base import FAMILIES
from probact.rule_search.child import problems_of
from probact.support.randomness import random_stream

RESULT = RESULTS / "found-rules-unseen.jsonl"
FOUND = ("drop(momentum, .1) + g", "g + momentum", "drop(rmsprop, .1) + sign(adam)")
"""Of the rules that searches found, by their test loss on *digits*: the best two, and the best with adaptive rates."""
COARSE = tuple(10.0**power for power in range(-5, 2))
STEPS, JUDGED_ON, DIVERGED = 200, 20, 1e9


class Unseen(NamedTuple):
    """A family, and on how many networks a rate is tuned."""

    family: str
    tuned_on: int = 8


PROBLEMS = {
    "breast-cancer": Unseen("breast-cancer", 20),
    "digits-autoencoder": Unseen("digits-autoencoder"),
    "mnist": Unseen("mnist", 2),
    "fashion-mnist": Unseen("fashion-mnist", 2),
    "cifar10": Unseen("cifar10", 2),
}


def drawn(one: Unseen, num: int, seed: int, test: bool) -> Any:
    """Networks, scored on validation rows or on test rows.

    Logistic regressions are scored on the patients that they do not see, in both cases: others for each.
    """
    if one.family == "breast-cancer":
        return FAMILIES.build(one.family).sample(num, random_stream("train", seed))
    return problems_of(one.family, num, seed, test)


def judged(name: str, expr: str | None, one: Unseen) -> dict[str, Any]:
    """Test loss of each new network at the rate tuned for the rule."""
    tuning, means = drawn(one, one.tuned_on, 777, test=False), dict[float, float]()

    def try_out(rates: list[float]) -> float:
        loss = losses(name, expr, rates, tuning, STEPS).loss.nan_to_num(nan=DIVERGED, posinf=DIVERGED)
        means.update(zip(rates, loss.mean(-1).tolist(), strict=True))
        return min(means, key=means.__getitem__)

    best = try_out(list(COARSE))
    best = try_out([best * 10**power for power in (-0.5, 0.5)])
    best = try_out([best * 10**power for power in (-0.25, 0.25)])
    score = losses(name, expr, [best], drawn(one, JUDGED_ON, 888, test=True), STEPS)
    loss = score.loss[0].nan_to_num(nan=DIVERGED, posinf=DIVERGED)
    return {"rate": best, "loss": loss.tolist(), "accuracy": float(score.accuracy[0].mean())}


def judge(names: list[str]) -> None:
    """Known rules and found ones on each family; a line as soon as it is known."""
    rules = {**KNOWN, **{rule: rule for rule in FOUND}}
    with torch.no_grad():
        for problem in names:
            done = {row["rule"] for row in lines(RESULT) if row["problem"] == problem}
            for name, expr in rules.items():
                if name in done:
                    continue
                row = {"problem": problem, "rule": name, "is_found": name in FOUND, "steps": STEPS}
                row |= {"tuned_on": PROBLEMS[problem].tuned_on, **judged(name, expr, PROBLEMS[problem])}
                with RESULT.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(problem, name, row["rate"], sum(row["loss"]) / len(row["loss"]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["judge"])
    parser.add_argument("names", nargs="*", choices=[[], *PROBLEMS])
    given = parser.parse_args()
    torch.set_num_threads(1)
    judge(given.names or [*PROBLEMS])


if __name__ == "__main__":
    main()
