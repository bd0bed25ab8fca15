"""Summaries as text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from probact.inference.posteriors.base import NO_HALTING
from probact.inference.priors import Prior
from probact.reports.columns import LABEL_WIDTH, WIDTH, Row, fitted, mean_and_error, table_lines, table_row
from probact.reports.rows import (
    STEP,
    WORTH,
    at_scale,
    evidence_rows,
    loss_note,
    loss_rows,
    step_rows,
    worth_note,
    worth_rows,
)
from probact.support.statistics import LEVELS, quantiles
from probact.support.words import counted

if TYPE_CHECKING:
    from probact.judging.results import BestStop, Evaluation, LossRow, StopRow
    from probact.reports.halting_statistics import HaltingStatistics
    from probact.reports.run_report import Summary


LOSS_WIDTH = 18


def loss_table(summary: Summary) -> str:
    """The held-out loss beside Adam's and the untrained rule's."""
    widths = [10] * len(summary.loss_at)
    rows = [("after step", list(summary.loss_at)), *loss_rows(summary)]
    return "\n".join([loss_note(summary), *table_lines(rows, widths)])


def training_note(summary: Summary) -> str:
    """What training left out; empty if nothing."""
    if not summary.left_out and not summary.skipped:
        return ""
    failed = "TRAINING FAILED: " if 2 * summary.skipped > summary.updates else ""
    return (
        f"{failed}training left out {counted(summary.left_out, 'problem')} that diverged, "
        f"and skipped {summary.skipped} of {counted(summary.updates, 'update')}"
    )


def worth_table(statistics: HaltingStatistics) -> str:
    """What the optimizer's own stop is worth beside budget, patience and hindsight, and the verdict."""
    found = statistics.stopping
    if not found.verdict:
        if statistics.num_optimizees:
            return "stopping: not in this summary, which an earlier version wrote; `halt-stats` works it out"
        return f"stopping: nothing to say, for all {statistics.num_diverged} held-out problems diverged"
    lines = [worth_note(statistics), *table_lines([("", WORTH), *worth_rows(found)], [14, 12, 10, 10])]
    return "\n".join([*lines, "", textwrap.fill(found.verdict, WIDTH)])


def halting_table(
    statistics: HaltingStatistics, nu: float, posterior: str, horizon: int, geometric: bool = True
) -> str:
    """The halting step beside prior and exact posterior, evidence and gaps.

    :param geometric: whether p(T) and p(t|T) are, whose means without a cap are known.
    """
    learned = posterior != NO_HALTING
    step, exact, T = statistics.halting, statistics.map, statistics.horizon
    widths = [8, 8] + [6] * len(LEVELS)
    scale = at_scale(statistics)
    lines = [f"halting over {counted(statistics.num_optimizees, 'held-out problem')}"]
    if not learned:
        lines.append("this run has no halting posterior (--halting none): the exact posterior alone")
    lines.append(table_row("step", STEP, widths))
    lines += [table_row(label, cells, widths) for label, cells in step_rows(statistics, learned)]
    lines += [
        table_row("prior p(T)", [T.prior_mean], widths[:1]),
        table_row(f"exact p(T|x){scale}", [T.posterior_mean], widths[:1]),
        *([_without_cap(nu, horizon)] if geometric else []),
        "",
        "from problem to problem",
        table_row("", ["mean", "sd", "median", "range"], [8, 8, 8, 12]),
    ]
    span = f"[{step.min}, {step.max}]" if statistics.num_optimizees else None
    lines.append(table_row("halting step (own stop)", [step.mean, step.sd, f"{step.median:g}", span], [8, 8, 8, 12]))
    if learned:
        lines.append(table_row("mode of q(t|x)", [statistics.mode.mean, statistics.mode.sd], [8, 8]))
    lines.append(table_row(f"mode of exact p(t|x){scale}", [exact.mean, exact.sd], [8, 8]))
    if learned:
        lines.append(table_row("rank correlation of the two modes", [statistics.rank_correlation], [8]))
    return "\n".join([*lines, "", *_evidence(statistics, learned)])


def _without_cap(nu: float, horizon: int) -> str:
    t, T = Prior.mean_halting_step(nu), Prior.mean_horizon(nu)
    return f"(a geometric prior without the cap H = {horizon}: E[t] = 1/(1 - nu) = {t:.4g}, E[T] = {T:.4g})"


def _evidence(statistics: HaltingStatistics, learned: bool) -> list[str]:
    head = f"evidence{' at KL scale 1' if at_scale(statistics) else ''} (nats, mean over problems)"
    return [head, *(table_row(label, cells, [10]) for label, cells in evidence_rows(statistics, learned))]


def evaluation_table(result: Evaluation) -> str:
    """Losses of every optimizer at every step, and each trained one against the best baseline."""
    known = "" if math.isnan(result.optimum) else f", at the optimum {result.optimum:.4g}"
    head = f"held-out loss, mean ± standard error over {counted(result.num_optimizees, 'problem')} (at the start "
    head += f"{result.start_loss:.4g}{known})"
    blocks = ["\n".join(table_lines(_loss_rows(result, part), [LOSS_WIDTH] * len(part))) for part in _blocks(result)]
    text = textwrap.fill(head, WIDTH) + "\n" + "\n\n".join(blocks)
    if len({row.kind == "trained" for row in result.losses}) == 2:
        text += "\nbaselines: learning rate tuned for each step by itself, on other problems"
    return text


def _blocks(result: Evaluation) -> list[list[str]]:
    """The steps, in parts whose columns stand beside each other in a terminal."""
    steps = list(result.losses[0].loss)
    cells = [row[1] for row in _loss_rows(result, steps) if not isinstance(row, str)]
    blocks, room = list[list[str]](), 0
    for step, width in zip(steps, fitted(cells, [LOSS_WIDTH] * len(steps)), strict=True):
        if width > room:
            blocks.append([])
            room = WIDTH - LABEL_WIDTH
        blocks[-1].append(step)
        room -= width
    return blocks


def _loss_rows(result: Evaluation, steps: Sequence[str]) -> list[Row | str]:
    """What ``evaluation_table`` says of ``steps``."""
    rows: list[Row | str] = [("after step", steps)]
    for row in result.losses:
        many = f" ({len(row.seeds)} seeds)" if len(row.seeds) > 1 else ""
        rows.append((row.optimizer + many, [mean_and_error(row.loss[s], row.sem[s]) for s in steps]))
        if any(row.diverged.values()):
            rows.append(("  problems diverged, left out", [row.diverged[s] for s in steps]))
    if any(row.test_loss for row in result.losses):
        rows += ["", ("test loss and accuracy, whole test set", steps)]
        rows += [(row.optimizer, [_score(row, step) for step in steps]) for row in result.losses]
    for against in result.against_baselines:
        rows += [
            "",
            f"{against.optimizer} against the best baseline at each step",
            ("best baseline", [against.baseline[s] for s in steps]),
            ("difference, problem by problem", [mean_and_error(against.difference[s], against.sem[s]) for s in steps]),
            ("problems won", [f"{against.wins[s]:.0%}" for s in steps]),
        ]
    return rows


def _score(row: LossRow, step: str) -> str:
    """Test loss, and accuracy where there is one."""
    loss, accuracy = row.test_loss[step], row.accuracy.get(step, math.nan)
    known = "" if math.isnan(accuracy) else f" {accuracy:6.1%}"
    return (f"{loss:.4f}" if math.isfinite(loss) else "diverged") + known


def stopping_table(result: Evaluation, best: Sequence[BestStop]) -> str:
    """What each stop rule makes of each trained optimizer, then every optimizer with the best stop found for it."""
    columns = ["J", "loss", "steps", "± sd", "share", "rank corr"]
    widths = [LOSS_WIDTH - 1, 9, 8, 7, 8, 11]

    def line(label: str, row: StopRow) -> Row:
        if not math.isfinite(row.J):
            return label, ["diverged"]
        cells = [mean_and_error(row.J, row.J_sem), f"{row.loss:.4g}", f"{row.steps:.1f}", f"{row.steps_sd:.1f}"]
        return label, [*cells, row.share, row.rank_correlation]

    rows: list[Row | str] = [
        f"stopping at a price of {result.cost:.4g} nats a step, at most {counted(result.horizon, 'step')}: "
        "J = loss + price * steps"
    ]
    groups: dict[str, list[StopRow]] = {}
    for row in result.stopping:
        if row.trained:
            groups.setdefault(f"{row.optimizer}, seed {row.seed}", []).append(row)
    for label, of_one in groups.items():
        rows += ["", (label, columns), *(line(f"  {row.rule}", row) for row in of_one)]
    if groups:
        rows.append(
            "share: of the difference between the best fixed budget and the oracle; rank corr: with the oracle's"
        )
    for bins in result.calibration:
        rows.append(
            f"P(halt <= t) of {bins.optimizer}, seed {bins.seed}, against best step <= t: mean error {bins.error:.3f}"
        )
    rows += [*_predictions(result), "", ("every optimizer, its best stop", columns)]
    for entry in best:
        many = f" ({entry.num_seeds} seeds)" if entry.num_seeds > 1 else ""
        rows.append(line(f"  {entry.optimizer}{many}: {entry.kind}", entry))
    return "\n".join(table_lines(rows, widths))


def _predictions(result: Evaluation) -> list[str]:
    """Held-out labels predicted at the stop, at the end, and by all steps at once."""
    lines = []
    widths = [LOSS_WIDTH, 12, 14]
    for label in dict.fromkeys(f"{row.optimizer}, seed {row.seed}" for row in result.predictions):
        lines += ["", f"held-out labels, {label}", table_row("", ["log loss", "accuracy", "calibration"], widths)]
        for row in result.predictions:
            if f"{row.optimizer}, seed {row.seed}" == label:
                cells = [
                    mean_and_error(row.log_loss, row.log_loss_error),
                    f"{row.accuracy:.1%}",
                    f"{row.calibration_error:.3f}",
                ]
                lines.append(table_row(f"  {row.way}", cells, widths))
    if lines:
        lines.append("log loss ± standard error of the difference to the stop's; calibration: expected error")
    return lines


def prior_table(chosen: Prior) -> str:
    """Means and quantiles of p(t) and p(T), and the price of a step."""
    nu, horizon = float(chosen.nu), chosen.horizon
    widths = [8] + [6] * len(LEVELS)
    t, T = Prior.mean_halting_step(nu), Prior.mean_horizon(nu)
    geometric = f"without a cap E[t] = 1/(1 - nu) = {t:.4g} steps, E[T] = {T:.4g} steps"
    lines = [
        f"nu = {nu:g}, the probability to continue; -log nu = {chosen.step_cost:.4g} nats",
        chosen.label,
        *([geometric] if chosen.label == "geometric p(T), geometric p(t|T)" else []),
        "",
        table_row(f"truncated to H = {horizon}", ["mean", *(f"{level:.0%}" for level in LEVELS)], widths),
    ]
    for label, steps in (("halting step t", chosen.marginal()), ("horizon T", chosen.horizon_distribution())):
        pmf = steps.log_pmf.double().exp().numpy()
        lines.append(table_row(label, [float(steps.mean), *quantiles(pmf).values()], widths))
    return "\n".join([*lines, *_prices(chosen)])


def _prices(chosen: Prior) -> list[str]:
    """What the prior charges a step, at the first, the middle and the last; nothing at H = 1."""
    price = chosen.price().tolist()
    if not price:
        return []
    last = len(price)
    shown = [f"{price[step - 1]:.4g} (step {step} to {step + 1})" for step in sorted({1, (last + 1) // 2, last})]
    flat = "the same at every step: the mode of the exact posterior is the step with the smallest loss plus cost"
    rising = "not the same at every step: see `--horizon-prior flat`"
    even = max(price) - min(price) < 1e-3 * max(map(abs, price))
    return ["", f"price of a step, -log p(t+1)/p(t), in nats: {', '.join(shown)}", flat if even else rising]
