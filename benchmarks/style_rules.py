"""Which weights of a rule's training are judged: those that validated best, or the last.

Validation is the mean log loss along unrolls of 32 to 128 steps, which hardly sees the end.  So of the two that a
checkpoint holds those are chosen whose mean loss after all steps is lower on the crops that the rates of baselines are
tuned on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from style_paths import HORIZON, Paths, Rows

from probact.runs.run import Run
from probact.runs.sources import best_of
from probact.runs.trained import TrainedOptimizer

BEST, LAST = "best", "last"


def chosen_of(folder: Path, seed: int) -> Path:
    """The file of what ``choose`` chose."""
    return folder / f"chosen-{seed}.pt"


def choice_of(folder: Path, seed: int) -> dict[str, Any]:
    """What ``choose`` found."""
    found: dict[str, Any] = json.loads(chosen_of(folder, seed).with_suffix(".json").read_text())
    return found


def candidates(run_folder: Path) -> dict[str, TrainedOptimizer]:
    """``BEST`` and ``LAST`` of a training."""
    chain = Run.open(run_folder).chains[0]
    best, last = chain.trained(), chain.trained()
    of_rule = {name: value for name, value in chain.state()["weights"].items() if name.startswith("rule.")}
    last.rule.load_state_dict({name.removeprefix("rule."): value for name, value in of_rule.items()})
    return {BEST: best, LAST: last}


def choose(folder: Path, seed: int) -> None:
    """Keep the better of the ``candidates`` of ``seed``."""
    paths = Paths("trained", folder)
    found = candidates(folder / f"rule-{seed}")
    ends = {
        name: float(paths.of("tuning", _name(seed, name), one.worn_rule).nll[HORIZON].mean()) * paths.scale
        for name, one in found.items()
    }
    better = min(ends, key=lambda name: ends[name])
    file = chosen_of(folder, seed)
    found[better].save(file)
    notes = {"weights": better, "losses": ends, "crops": paths.setting.tuning}
    file.with_suffix(".json").write_text(json.dumps(notes) + "\n")
    print(f"{file.name}: {notes}", flush=True)


def learned_paths(paths: Paths, kind: str, folder: Path, seed: int) -> Rows:
    """Of the chosen rule."""
    name = _name(seed, choice_of(folder, seed)["weights"])
    return paths.of(kind, name, best_of(str(chosen_of(folder, seed))).worn_rule)


def _name(seed: int, weights: str) -> str:
    return f"rule-{seed}" if weights == BEST else f"rule-{seed}-{weights}"
