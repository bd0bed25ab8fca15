"""Style transfer: a learned optimizer and its learned stop against tuned Adam, L-BFGS, NAG and RMSprop.

    python benchmarks/style.py train --seed 0       # rule, then halting posterior: two runs, which go on if cut off
    python benchmarks/style.py judge --setting trained --seed 0 --seed 1
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
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pages import RESULTS
from torch import Tensor

from probact.judging.problem_sets import held_out_problems, tuning_problems
from probact.judging.stops import Verdict, own_verdict, shares, tune_stop, verdicts
from probact.judging.trajectory import Trajectory, record
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.runs.sources import best_of
from probact.runs.trained import TrainedOptimizer
from probact.support.statistics import rank_correlation
from probact.training.loop import train as train_to_its_end

HORIZON = 128
AT = (10, 20, 50, 128)
PHOTOS = {"features": "lite0", "content": ["photos"]}
TRAINED = {**PHOTOS, "style": ["brick", "gravel"]}


class Setting(NamedTuple):
    """What is judged on.

    :ivar options: of the family.
    :ivar test, tuning: numbers of crops.
    :ivar rates: of each baseline those that are tried.
    """

    options: Mapping[str, Any]
    test: int
    tuning: int
    rates: Mapping[str, tuple[float, ...]]

    def experiment(self) -> Experiment:
        return Experiment.create(
            family="style", family_options=dict(self.options), validation_problems=self.tuning, test_problems=self.test
        )


_FEW = {"adam": (0.01, 0.02, 0.03, 0.05), "lbfgs": (0.01, 0.03, 0.1, 0.3)}
_ALL = {**_FEW, "nag": (0.01, 0.03, 0.05), "rmsprop": (0.005, 0.01, 0.02)}
SETTINGS = {
    "trained": Setting(TRAINED, 40, 8, _ALL),
    "grass": Setting({**PHOTOS, "style": ["grass"]}, 24, 4, _FEW),
    "grass-128": Setting({**PHOTOS, "style": ["grass"], "size": 128}, 8, 2, _FEW),
}


def rule_settings(meta_steps: int) -> dict[str, Any]:
    """How the rule learns: the mean log loss of unrolls of 32 to 128 steps."""
    return {
        "family": "style", "family_options": TRAINED, "rule": "subspace", "halting": "none", "objective": "log-loss",
        "horizon": HORIZON, "horizon_from": 32, "truncate": 16, "through_path": True, "by_segment": True, "batch": 4,
        "lr": 3e-3, "meta_steps": meta_steps, "validate_every": 20, "validation_problems": 4, "test_problems": 8,
    }  # fmt: skip


def head_settings(meta_steps: int, folder: Path) -> dict[str, Any]:
    """How its halting posterior learns, at .002 of the loss a step."""
    return {
        "family": "style", "family_options": TRAINED, "rule": "subspace", "begin_with": str(folder),
        "freeze_rule": True, "horizon": HORIZON, "batch": 4, "lr": 1e-2, "meta_steps": meta_steps,
        "validate_every": 15, "validation_problems": 4, "test_problems": 8, "log_loss_weight": 0.0,
    }  # fmt: skip


def train(folder: Path, seed: int, rule_steps: int, head_steps: int) -> None:
    rule, head = folder / f"rule-{seed}", folder / f"head-{seed}"
    _train(rule, Experiment.create(**rule_settings(rule_steps)), seed, None)
    _train(head, Experiment.create(**head_settings(head_steps, rule)), seed, best_of(str(rule)))


def _train(folder: Path, experiment: Experiment, seed: int, source: TrainedOptimizer | None) -> None:
    run = Run.open(folder, to_train=True) if (folder / "experiment.json").exists() else Run.create(
        folder, experiment, (seed,), source
    )  # fmt: skip
    begun = time.perf_counter()

    def tell(found: Any) -> None:
        print(f"{folder.name}: {found.step}, {found.loss:.4g}, {found.validation}", flush=True)

    train_to_its_end(run.chains[0], tell, lambda: False)
    print(f"{folder.name}: {time.perf_counter() - begun:.0f} s", flush=True)


class Paths:
    """Paths on the crops of one setting, each made once."""

    def __init__(self, name: str, folder: Path) -> None:
        self.setting, self.folder = SETTINGS[name], folder / "paths" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        experiment = self.setting.experiment()
        self.problems = {"test": held_out_problems(experiment), "tuning": tuning_problems(experiment, 1)}
        self.scale = self.problems["test"].scale  # type: ignore[attr-defined]

    def of(self, kind: str, name: str, rate: float | None, one: TrainedOptimizer | None = None) -> Trajectory:
        path = self.folder / f"{kind}-{name}-{rate}.pt"
        if not path.exists():
            begun = time.perf_counter()
            rule = RULES.build(name, {"lr": rate}) if one is None else one.worn_rule
            found = record(rule, self.problems[kind], HORIZON, None if one is None else one.online_posterior)
            torch.save(found, path)
            print(f"{path.name}: {time.perf_counter() - begun:.0f} s", flush=True)
        found: Trajectory = torch.load(path, weights_only=False)
        return found


def judge(name: str, folder: Path, seeds: Iterable[int]) -> None:
    """Losses at ``AT``, and J of stops at the price of a step."""
    paths, setting = Paths(name, folder), SETTINGS[name]
    learned = {seed: best_of(str(trained_in(folder, seed))) for seed in seeds}
    cost = setting.experiment().step_cost
    curves: dict[str, list[Tensor]] = {"learned": []}
    stops: list[dict[str, Any]] = []
    for seed, one in learned.items():
        run = trained_in(folder, seed).name
        test, tuning = (paths.of(kind, run, None, one) for kind in ("test", "tuning"))
        curves["learned"].append(test.nll * paths.scale)
        if one.online_posterior is not None:
            stops += _stops(f"learned, seed {seed}", verdicts(test, tuning, cost), paths.scale)
    chosen: dict[str, dict[str, float]] = {}
    for rule, rates in setting.rates.items():
        found = {rate: paths.of("tuning", rule, rate) for rate in rates}
        best = {step: min(rates, key=lambda rate, step=step: _mean(found[rate].nll[step])) for step in AT}
        tests = {rate: paths.of("test", rule, rate) for rate in set(best.values())}
        curves[rule] = [torch.stack([tests[best[step]].nll[step] for step in AT]) * paths.scale]
        chosen[rule] = {str(step): rate for step, rate in best.items()}
        judged = {rate: verdicts(tests[rate], found[rate], cost) for rate in tests}
        rate = min(judged, key=lambda rate: min(one.choice for one in judged[rate] if one.choice))
        stops += _stops(f"{rule}, rate {rate:g}", judged[rate], paths.scale)
    rows = _rows(curves)
    result = {"setting": name, "options": dict(setting.options), "crops": setting.test, "tuning": setting.tuning,
              "seeds": list(learned), "meta_steps": _meta_steps(folder, learned), "at": list(AT), "rates": chosen,
              "grids": {rule: list(rates) for rule, rates in setting.rates.items()}, "losses": rows,
              "reached": _reached(curves), "price": cost * paths.scale, "stops": stops}  # fmt: skip
    (RESULTS / f"style-{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"style-{name}.json", flush=True)


def trained_in(folder: Path, seed: int) -> Path:
    """The run with the halting posterior, or that of the rule alone where there is none yet."""
    head = folder / f"head-{seed}"
    return (
        head
        if (head / "experiment.json").exists() and Run.open(head).chains[0].is_finished
        else folder / f"rule-{seed}"
    )


def _meta_steps(folder: Path, seeds: Iterable[int]) -> dict[str, dict[str, Any]]:
    found = {}
    for seed in seeds:
        kinds = ["rule"] + ["head"] * trained_in(folder, seed).name.startswith("head")
        records = {kind: Run.open(folder / f"{kind}-{seed}").chains[0].records() for kind in kinds}
        found[str(seed)] = {kind: {"meta_steps": one[-1]["step"], "seconds": round(sum(row["seconds"] for row in one))}
                            for kind, one in records.items()}  # fmt: skip
    return found


def _mean(values: Tensor) -> float:
    return float(values.mean()) if bool(values.isfinite().all()) else math.inf


def _moments(values: Tensor) -> dict[str, float]:
    return {"mean": float(values.mean()), "sem": float(values.std() / len(values) ** 0.5)}


def _rows(curves: Mapping[str, list[Tensor]]) -> dict[str, Any]:
    """Means over crops, and over seeds; of the learned one the paired difference from the best tuned of each step."""
    at = {name: [one[list(AT)] if len(one) > len(AT) else one for one in found] for name, found in curves.items()}
    means = {name: torch.stack(found).mean(0) for name, found in at.items() if found}
    rows: dict[str, Any] = {}
    for name, values in means.items():
        rows[name] = {str(step): _moments(values[row]) for row, step in enumerate(AT)}
    if "learned" not in means:
        return rows
    for row, step in enumerate(AT):
        peers = {name: values[row] for name, values in means.items() if name != "learned"}
        best = min(peers, key=lambda name: _mean(peers[name]))
        rows["learned"][str(step)] |= {
            "by_seed": [_mean(one[row]) for one in at["learned"]],
            "best": best,
            "difference": _moments(means["learned"][row] - peers[best]),
            "wins": float((means["learned"][row] < peers[best]).double().mean()),
        }
    return rows


def _reached(curves: Mapping[str, list[Tensor]]) -> list[int | None]:
    """The step at which each seed's mean loss is at most that of Adam after 128 steps."""
    if "adam" not in curves:
        return []
    goal = float(curves["adam"][0][-1].mean())
    steps = [(one.mean(1) <= goal).nonzero() for one in curves["learned"]]
    return [int(found[0]) if len(found) else None for found in steps]


def _stops(name: str, found: list[Verdict], scale: float) -> list[dict[str, Any]]:
    """In units of the loss."""
    oracle = next(one for one in found if one.kind == "oracle")
    learned = own_verdict(found) if any(one.rule and one.rule.needs_posterior for one in found) else None
    kept = [one for one in found if one.kind in ("budget", "patience", "horizon", "oracle")]
    share = dict(zip((one.kind for one in found), shares(found), strict=True))
    rows = []
    for one in kept + ([] if learned is None else [learned]):
        others = [other for other in kept if other.kind != "oracle"]
        against = {other.kind: _moments((one.J - other.J) * scale) for other in others}
        rows.append({
            "optimizer": name, "kind": "learned stop" if one is learned else one.kind, "rule": one.describe(),
            "J": _moments(one.J * scale), "steps": float(one.stop.double().mean()),
            "steps_sd": float(one.stop.double().std()), "share": share[one.kind], "against": against,
            "rank": rank_correlation(one.stop.double().numpy(), oracle.stop.double().numpy()),
        })  # fmt: skip
    return rows


def tuned_stop(folder: Path, seed: int, one: TrainedOptimizer) -> Any:
    """The learned stop of ``seed``, tuned on the crops for it."""
    tuning = Paths("trained", folder).of("tuning", trained_in(folder, seed).name, None, one)
    cost = SETTINGS["trained"].experiment().step_cost
    found = [verdict for verdict in verdicts(tuning, tuning, cost) if verdict.rule]
    return tune_stop(type(own_verdict(found).rule), tuning, cost).rule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "judge", "table", "figure"])
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; else 0")
    parser.add_argument("--setting", choices=list(SETTINGS), action="append", help="may be repeated; else all")
    parser.add_argument("--runs", type=Path, default=Path("runs/style"))
    parser.add_argument("--rule-steps", type=int, default=80, help="meta-steps of the rule")
    parser.add_argument("--head-steps", type=int, default=30, help="meta-steps of the halting posterior")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = given.seed or [0]
    if given.what == "train":
        for seed in seeds:
            train(given.runs, seed, given.rule_steps, given.head_steps)
    elif given.what == "judge":
        for name in given.setting or SETTINGS:
            judge(name, given.runs, seeds)
    else:
        import style_page

        style_page.write_tables() if given.what == "table" else style_page.draw(given.runs, seeds[0])


if __name__ == "__main__":
    main()
