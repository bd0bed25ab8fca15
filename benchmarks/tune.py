"""Tune the learning rate of every hand-designed rule for every family: writes ``probact/judging/tuned_rates.json``.

    python benchmarks/tune.py                 # all families but mixtures, whose parts have rates of their own
    python benchmarks/tune.py mixed digits    # some, the others stay
    python benchmarks/tune.py --rule muon-cosine --rule prodigy quadratic    # some rules, usual or not

For each family and target step the best of 28 rates (1, 1.5, 2, 3, 4, 5, 7 times 10^-3..10^0; Prodigy 10^-2..10^1) on
problems of their own: see ``probact.judging.tuning.sweep``.  Without ``--rule`` all that are usual.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from probact.judging.tuning import TUNED_RATES, family_key, sweep
from probact.problems.base import FAMILIES
from probact.problems.mixture import Mixture
from probact.rules.hand_designed import hand_designed
from probact.runs.experiment import Experiment
from probact.support.files import write_atomically

STEPS = (1, 5, 10, 20, 50, 100, 200, 500)
LAST_STEP = {"cifar10": 100, "breast-cancer": 500, "digits-autoencoder": 500}
"""200 elsewhere: a step of a convolutional network takes as long as ten of the others, and some families are there for
optimizers trained on other families, which are to go on for longer."""


def tune(family: str, rules: Sequence[str]) -> None:
    experiment = Experiment.create(family=family)
    for name in rules:
        begun = time.perf_counter()
        rates = sweep(name, experiment, [step for step in STEPS if step <= LAST_STEP.get(family, 200)])
        known = json.loads(TUNED_RATES.read_text()) if TUNED_RATES.exists() else {}
        known.setdefault(family_key(experiment), {})[name] = {str(step): rate for step, rate in rates.items()}
        write_atomically(TUNED_RATES, json.dumps(known, indent=1, sort_keys=True) + "\n")
        print(f"{family} {name}: {rates} ({time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    families = [name for name in FAMILIES if not (issubclass(FAMILIES[name], Mixture) or FAMILIES[name].has_unit)]
    usual = [name for name, rule in hand_designed().items() if rule.usual]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", default=families)
    parser.add_argument("--rule", action="append", choices=list(hand_designed()), help="may be repeated")
    given = parser.parse_args()
    if any(name not in families for name in given.families):
        sys.exit(f"Error: expected families among: {', '.join(families)}")
    for one in given.families:
        tune(one, given.rule or usual)
