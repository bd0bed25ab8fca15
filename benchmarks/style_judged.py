"""What style's trained rules and their stops reach beside tuned baselines, on test crops."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pages import RESULTS, read
from style_paths import APART, HEADS, HORIZON, SETTINGS, Paths, Rows
from style_rules import choice_of, chosen_of, learned_paths
from torch import Tensor

from probact.judging.stops import Verdict, own_verdict, shares, verdicts
from probact.rules.base import RULES, UpdateRule
from probact.runs.run import Run
from probact.runs.sources import best_of
from probact.runs.trained import TrainedOptimizer
from probact.stopping.base import StopRule
from probact.support.statistics import rank_correlation

AT = (10, 20, 50, HORIZON)
PRICES = (0.002, 0.005, 0.01, 0.02)
"""Of a step, in units of the loss; the first is the one of the acceptance table."""
PLAIN = ("budget", "patience")


def head_of(folder: Path, seed: int) -> Path:
    return folder / f"head-{seed}.pt"


def trained_of(folder: Path, seed: int) -> TrainedOptimizer:
    """With the halting posterior, or the rule alone where there is none yet."""
    head = head_of(folder, seed)
    return best_of(str(head if head.exists() else chosen_of(folder, seed)))


def stop_tuning(paths: Paths, folder: Path, seed: int) -> Rows:
    """Those on which stops of the learned optimizer are tuned."""
    return learned_paths(paths, "heads", folder, seed).select(torch.arange(HEADS - APART, HEADS))


def judge(name: str, folder: Path, seeds: Iterable[int], keep_rates: bool = False) -> None:
    """Losses at ``AT``, and J of stops at ``PRICES``.

    :param keep_rates: take the rates that the results hold, and tune none; the budget of a baseline is then the best
        one of the test crops themselves, and its patience is not judged.
    """
    paths, setting, seeds = Paths(name, folder), SETTINGS[name], list(seeds)
    cost, stops = setting.experiment().step_cost, []
    curves: dict[str, list[Tensor]] = {"learned": []}
    for seed in seeds:
        test, one = learned_paths(paths, "test", folder, seed), trained_of(folder, seed)
        curves["learned"].append(test.nll * paths.scale)
        if setting.stops and one.online_posterior is not None:
            test = learned_paths(paths, "stops", folder, seed)
            stops += _learned_stops(seed, one, test, stop_tuning(paths, folder, seed), paths.scale, cost)
    old = read(f"style-{name}") if keep_rates else {}
    chosen = old.get("rates") or {rule: _tuned(paths, rule) for rule in setting.rates}
    for rule, best in chosen.items():
        found = {rate: tested(paths, rule, rate, best) for rate in set(best.values())}
        curves[rule] = [torch.stack([found[best[str(step)]].nll[step] for step in AT]) * paths.scale]
        if setting.stops:
            rate = best[str(HORIZON)]
            tuning = found[rate] if keep_rates else paths.of("tuning", f"{rule}-{rate}", _built(rule, rate))
            judged = verdicts(found[rate].trajectory(), tuning.trajectory(), cost)
            kept = [one for one in judged if one.rule is None or one.kind == "budget" or not keep_rates]
            stops += _stops(f"{rule}, rate {rate:g}", PRICES[0], kept, paths.scale)
    result = {
        "setting": name, "options": dict(setting.options), "crops": setting.test,
        "tuning": old.get("tuning", setting.tuning), "stop_tuning": APART, "stop_crops": setting.stops, "seeds": seeds,
        "meta_steps": _meta_steps(folder, seeds), "at": list(AT), "rates": chosen,
        "grids": old.get("grids") or {rule: list(rates) for rule, rates in setting.rates.items()},
        "losses": _rows(curves), "reached": _reached(curves), "prices": list(PRICES), "stops": stops,
    }  # fmt: skip
    (RESULTS / f"style-{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"style-{name}.json", flush=True)


def _built(rule: str, rate: float) -> UpdateRule:
    return RULES.build(rule, {"lr": rate})


def _tuned(paths: Paths, rule: str) -> dict[str, float]:
    """Of each step of ``AT`` the best rate."""
    found = {rate: paths.of("tuning", f"{rule}-{rate}", _built(rule, rate)) for rate in paths.setting.rates[rule]}
    return {str(step): min(found, key=lambda rate, step=step: _mean(found[rate].nll[step])) for step in AT}


def tested(paths: Paths, rule: str, rate: float, best: Mapping[str, float]) -> Rows:
    """As many steps at ``rate`` as it is the best rate of."""
    last = max(step for step in AT if best[str(step)] == rate)
    return paths.of("test", f"{rule}-{rate}", _built(rule, rate), last)


def _learned_stops(
    seed: int, one: TrainedOptimizer, test: Rows, tuning: Rows, scale: float, cost: float
) -> list[dict[str, Any]]:
    found = []
    for price in PRICES:
        factor = cost * scale / price
        on_test, on_tuning = (rows.scaled(factor).trajectory(one.online_posterior) for rows in (test, tuning))
        judged = verdicts(on_test, on_tuning, cost)
        found += _stops(f"learned, seed {seed}", price, judged, price / cost)
    return found


def _meta_steps(folder: Path, seeds: Iterable[int]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        records = Run.open(folder / f"rule-{seed}").chains[0].records()
        rule = {"meta_steps": records[-1]["step"], "seconds": round(sum(row["seconds"] for row in records))}
        found[str(seed)] = {"rule": rule, "choice": choice_of(folder, seed)}
        notes = head_of(folder, seed).with_suffix(".json")
        if notes.exists():
            found[str(seed)]["head"] = json.loads(notes.read_text())
    return found


def _mean(values: Tensor) -> float:
    return float(values.mean()) if bool(values.isfinite().all()) else math.inf


def _moments(values: Tensor) -> dict[str, float]:
    return {"mean": float(values.mean()), "sem": float(values.std() / len(values) ** 0.5)}


def _rows(curves: Mapping[str, list[Tensor]]) -> dict[str, Any]:
    """Means over crops, and over seeds; of the learned one the paired difference from the best tuned of each step."""
    at = {name: [one[list(AT)] if len(one) > len(AT) else one for one in found] for name, found in curves.items()}
    means = {name: torch.stack(found).mean(0) for name, found in at.items()}
    rows: dict[str, Any] = {}
    for name, values in means.items():
        rows[name] = {str(step): _moments(values[row]) for row, step in enumerate(AT)}
    for row, step in enumerate(AT):
        peers = {name: values[row] for name, values in means.items() if name != "learned"}
        best = min(peers, key=lambda name: _mean(peers[name]))
        apart = [_moments(one[row] - peers[best]) for one in at["learned"]]
        rows["learned"][str(step)] |= {
            "by_seed": [_mean(one[row]) for one in at["learned"]],
            "best": best,
            "difference": _moments(means["learned"][row] - peers[best]),
            "difference_by_seed": apart,
            "wins": float((means["learned"][row] < peers[best]).double().mean()),
        }
    return rows


def _reached(curves: Mapping[str, list[Tensor]]) -> list[int | None]:
    """The step at which each seed's mean loss is at most that of Adam after 128 steps."""
    goal = float(curves["adam"][0][-1].mean())
    steps = [(one.mean(1) <= goal).nonzero() for one in curves["learned"]]
    return [int(found[0]) if len(found) else None for found in steps]


def _stops(name: str, price: float, found: list[Verdict], scale: float) -> list[dict[str, Any]]:
    """In units of the loss."""
    oracle = next(one for one in found if one.kind == "oracle")
    learned = own_verdict(found) if any(one.rule and one.rule.needs_posterior for one in found) else None
    kept = [one for one in found if one.kind in (*PLAIN, "horizon", "oracle")]
    share = dict(zip((one.kind for one in found), shares(found), strict=True))
    rows = []
    for one in kept + ([] if learned is None else [learned]):
        others = [other for other in kept if other.kind != "oracle"]
        against = {other.kind: _moments((one.J - other.J) * scale) for other in others}
        rows.append({
            "optimizer": name, "price": price, "kind": "learned stop" if one is learned else one.kind,
            "rule": one.describe(), "J": _moments(one.J * scale), "steps": float(one.stop.double().mean()),
            "steps_sd": float(one.stop.double().std()), "share": share[one.kind], "against": against,
            "rank": rank_correlation(one.stop.double().numpy(), oracle.stop.double().numpy()),
        })  # fmt: skip
    return rows


def tuned_stop(folder: Path, seed: int, one: TrainedOptimizer) -> StopRule:
    """The learned stop of ``seed``, tuned on the crops for it at the first price."""
    tuning = stop_tuning(Paths("trained", folder), folder, seed).trajectory(one.online_posterior)
    found = [
        verdict for verdict in verdicts(tuning, tuning, SETTINGS["trained"].experiment().step_cost) if verdict.rule
    ]
    own = own_verdict(found).rule
    assert own is not None
    return own
