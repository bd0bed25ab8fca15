"""What a search for rules found: figures, a table, ``summary.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from probact.reports.style import PRIOR, headed, ink, panels, save_figure, series, styled
from probact.rule_search.ranking import Ranked
from probact.rule_search.settings import Record, Settings
from probact.support.extras import is_installed
from probact.support.files import finite_numbers, write_atomically

WINDOW = 100
"""Rules that a mean is over."""


def ranked_table(ranked: Sequence[Ranked]) -> str:
    """A line a rule, the best first."""
    lines = [f"{'reward':>8} {'in search':>10} {'loss':>7} {'accuracy':>9} {'rate':>7}  rule"]
    for one in ranked:
        first = "-" if one.is_reference or np.isnan(one.first_reward) else f"{one.first_reward:.4f}"
        known = "  (known)" if one.is_reference else ""
        lines.append(
            f"{one.reward:8.4f} {first:>10} {one.loss:7.4f} {one.accuracy:9.4f} {one.rate:7.0e}  {one.rule}{known}"
        )
    return "\n".join(lines)


def write_report(folder: Path, settings: Settings, records: Sequence[Record], ranked: Sequence[Ranked]) -> None:
    """``summary.json`` and, where Matplotlib is installed, ``figures/``."""
    last = records[-max(len(records) // 5, 1) :]
    summary = {
        "rules": len(records),
        "distinct": len({record.rule for record in records}),
        "stopped": sum(record.stopped_at > 0 for record in records),
        "seconds": sum(record.seconds for record in records),
        "mean_reward_of_the_last_fifth": float(np.mean([record.reward for record in last])),
        "ranked": [one._asdict() for one in ranked],
    }
    write_atomically(folder / "summary.json", json.dumps(finite_numbers(summary), indent=1))
    if not is_installed("plots"):
        return
    reference = next((one for one in ranked if one.rule == "adam"), None)
    (folder / "figures").mkdir(exist_ok=True)
    with styled():
        draw_search(folder / "figures" / "rewards.png", settings, records, reference)


def draw_search(path: Path, settings: Settings, records: Sequence[Record], reference: Ranked | None) -> None:
    """Rewards of all rules with their moving mean, and the best so far."""
    rewards = np.array([record.reward for record in records])
    figure, axes = panels(1, 2, 3.6, top=0.75)
    number = np.arange(1, len(rewards) + 1)
    axes[0, 0].plot(number, rewards, ".", ms=2, color=PRIOR, label="a rule")
    means = [rewards[max(0, at - WINDOW) : at].mean() for at in number]
    axes[0, 0].plot(number, means, color=series(0), label=f"mean of the last {WINDOW}")
    best = np.maximum.accumulate(rewards)
    axes[0, 1].plot(number, best, color=series(0), label="best so far")
    if reference is not None:
        for axis in axes[0]:
            axis.axhline(reference.reward, color=ink(), lw=1, ls="--", label="adam, on fresh networks")
    low = max(float(np.quantile(best, 0.02)), float(best[-1]) - 3 * abs(1 - abs(float(best[-1]))) - 0.02)
    axes[0, 1].set(ylim=(low, float(best[-1]) + 0.05 * (float(best[-1]) - low) + 0.002))
    for axis in axes[0]:
        axis.set(xlabel="number of rules tried", ylabel=f"reward in validation ({settings.reward})")
        axis.legend(loc="lower right")
    name = max(records, key=lambda record: (record.reward, -record.loss)).rule
    headed(
        figure,
        f"After {len(records)} rules the best is {name}",
        f"{settings.controller}, depth {settings.depth}, child {settings.child}, seed {settings.seed}",
    )
    save_figure(figure, path)
