"""Style transfer: a learned optimizer and its learned stop against tuned Adam, L-BFGS, NAG and RMSprop.

    python benchmarks/style.py train --seed 0 --seed 1 --seed 2     # the rules; they go on if cut off
    python benchmarks/style.py choose --seed 0 --seed 1 --seed 2    # which of their weights are judged
    python benchmarks/style.py head --seed 0 --seed 1 --seed 2      # their halting posteriors
    python benchmarks/style.py judge --seed 0 --seed 1 --seed 2     # or one --setting
    python benchmarks/style.py table                # writes the tables of docs/style.md
    python benchmarks/style.py figure --seed 0      # writes docs/images/style.png

It needs the extra ``style``.  Features are those of ``lite0``, training styles brick and gravel, content crops of
photographs; test crops are of photographs that no training sees.  Rates and stops are tuned on further crops of the
training photographs, rates for each number of steps by itself.  Paths are kept in --runs: a judging that was cut off
goes on.  Results: ``results/style-SETTING.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from style_heads import head_settings, learn
from style_judged import head_of, judge
from style_paths import HORIZON, SETTINGS, TRAINED, Paths
from style_rules import choose, chosen_of, learned_paths

from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.runs.sources import best_of
from probact.training.loop import train as train_to_its_end


def rule_settings(meta_steps: int) -> dict[str, Any]:
    """How the rule learns: the mean log loss of unrolls of 32 to 128 steps."""
    return {
        "family": "style", "family_options": TRAINED, "rule": "subspace", "halting": "none", "objective": "log-loss",
        "horizon": HORIZON, "horizon_from": 32, "truncate": 16, "through_path": True, "by_segment": True, "batch": 4,
        "lr": 3e-3, "meta_steps": meta_steps, "validate_every": 20, "validation_problems": 4, "test_problems": 8,
    }  # fmt: skip


def train(folder: Path, seed: int, meta_steps: int) -> None:
    """The rule of ``seed``."""
    run_folder = folder / f"rule-{seed}"
    if (run_folder / "experiment.json").exists():
        run = Run.open(run_folder, to_train=True)
    else:
        run = Run.create(run_folder, Experiment.create(**rule_settings(meta_steps)), (seed,))
    begun = time.perf_counter()

    def tell(found: Any) -> None:
        print(f"{run_folder.name}: {found.step}, {found.loss:.4g}, {found.validation}", flush=True)

    train_to_its_end(run.chains[0], tell, lambda: False)
    print(f"{run_folder.name}: {time.perf_counter() - begun:.0f} s", flush=True)


def train_head(folder: Path, seed: int, meta_steps: int) -> None:
    """The halting posterior of the rule of ``seed``."""
    paths, source = Paths("trained", folder), chosen_of(folder, seed)
    experiment = Experiment.create(**head_settings(source), seed=seed)
    recorded = learned_paths(paths, "heads", folder, seed)
    found = learn(recorded, experiment, best_of(str(source)), paths.scale, meta_steps)
    head = head_of(folder, seed)
    notes = {"meta_steps": meta_steps, "crops": recorded.nll.shape[1], "seconds": round(found.seconds)}
    head.with_suffix(".json").write_text(json.dumps({**notes, "validations": found.validations}) + "\n")
    found.trained.save(head)
    print(f"{head.name}: {found.validations}, {found.seconds:.0f} s of a core", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "choose", "head", "judge", "table", "figure"])
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; else 0")
    parser.add_argument("--setting", choices=list(SETTINGS), action="append", help="may be repeated; else all")
    parser.add_argument("--runs", type=Path, default=Path("runs/style"))
    parser.add_argument("--rule-steps", type=int, default=50, help="meta-steps of the rule")
    parser.add_argument("--head-steps", type=int, default=300, help="meta-steps of the halting posterior")
    parser.add_argument("--keep-rates", action="store_true", help="judge with the rates that the results hold")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = given.seed or [0]
    if given.what in ("train", "choose", "head"):
        for seed in seeds:
            if given.what == "train":
                train(given.runs, seed, given.rule_steps)
            elif given.what == "choose":
                choose(given.runs, seed)
            else:
                train_head(given.runs, seed, given.head_steps)
    elif given.what == "judge":
        for name in given.setting or SETTINGS:
            judge(name, given.runs, seeds, given.keep_rates)
    else:
        import style_page

        style_page.write_tables() if given.what == "table" else style_page.draw(given.runs, seeds[0])


if __name__ == "__main__":
    main()
