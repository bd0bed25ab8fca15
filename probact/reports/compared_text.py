"""``RunsCompared`` as text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

from probact.reports.columns import WIDTH, mean_and_error, table_lines
from probact.reports.runs_compared import FEW_SEEDS, ComparedRun, RunsCompared

STOPS = ("loss + price", "loss", "steps", "± sd", "difference")
EVIDENCE = ("log p(x)", "difference", "weight", "gap", "seconds")
OF_STOPS, OF_EVIDENCE = (16, 10, 8, 8, 16), (12, 18, 9, 9, 10)


def compared_table(found: RunsCompared) -> str:
    """Stops and evidence of all runs, and in words what the difference is worth."""
    lost = f" ({found.num_diverged} diverged in some run and are left out)" if found.num_diverged else ""
    head = (
        f"{len(found.runs)} runs on the same {found.num_optimizees} held-out problems of {found.family}{lost}; a step "
        f"costs {found.price:.4g} nats"
    )
    lines = [*textwrap.wrap(head, WIDTH), ""]
    stops = [("each at its own stop", STOPS), *((_label(run), stop_cells(run)) for run in found.runs)]
    evidence = [("log evidence (nats)", EVIDENCE), *((_label(run), evidence_cells(run)) for run in found.runs)]
    lines += [*table_lines(stops, OF_STOPS), "", *table_lines(evidence, OF_EVIDENCE)]
    lines += ["", *(part for note in notes(found) for part in textwrap.wrap(note, WIDTH))]
    return "\n".join(lines)


def _label(run: ComparedRun) -> str:
    return run.run + (f" ({run.num_seeds} seeds)" if run.num_seeds > 1 else "")


def stop_cells(run: ComparedRun) -> list[str]:
    """The columns ``STOPS``."""
    difference = "best" if math.isnan(run.difference_sem) and run.difference == 0 else _signed(run.difference)
    if not math.isnan(run.difference_sem):
        difference = f"{_signed(run.difference)} ±{run.difference_sem:.1g}"
    J = mean_and_error(run.J, run.J_seed_sem)
    return [J, f"{run.loss:.4g}", f"{run.steps:.1f}", f"{run.steps_sd:.1f}", difference]


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def evidence_cells(run: ComparedRun) -> list[str]:
    """The columns ``EVIDENCE``."""
    error = run.evidence_difference_sem
    difference = "best" if math.isnan(error) else f"{_signed(run.evidence_difference)} ±{error:.1g}"
    others = ((run.weight, ".2f"), (_gap(run), ".3g"), (run.seconds, ".0f"))
    return [
        f"{run.log_evidence:.4g}",
        difference,
        *("-" if math.isnan(value) else f"{value:{form}}" for value, form in others),
    ]


def _gap(run: ComparedRun) -> float:
    return run.amortisation_gap + run.horizon_gap


def notes(found: RunsCompared) -> Iterator[str]:
    """What the numbers say, what they mean, and what they are too few for."""
    yield finding(found)
    yield (
        "difference: to the best, problem by problem, ± standard error over the problems; ± beside loss + price is "
        "over training seeds.  weight: in a stacking of the runs' predictions (az.compare).  gap: nats from the bound "
        "of q to the evidence."
    )
    if len({run.prior_nu for run in found.runs}) > 1:
        yield (
            "The runs' nu differ: each stop was tuned at the price of its own run, and is charged the one above "
            "(`compare --price` sets another); each evidence is under the run's own prior."
        )
    if few := [run.run for run in found.runs if run.num_seeds < FEW_SEEDS]:
        yield (
            f"Few seeds ({', '.join(few)}): a standard error over problems does not say what another training seed "
            f"would give; `fit --chains {FEW_SEEDS}` does."
        )


def finding(found: RunsCompared) -> str:
    """Which run costs the least, and whether that is more than chance over the problems."""
    best, second = found.runs[:2]
    gap, error = second.difference, second.difference_sem
    if gap == 0:
        return f"{best.run} and {second.run} cost the same."
    by = f"{best.run} costs least: {gap:.3g} nats a problem below {second.run}"
    if math.isnan(error):
        return f"{by}."
    if gap > 2 * error:
        return f"{by}, more than two standard errors ({error:.2g} each)."
    return f"{by}, which is no more than two standard errors ({error:.2g} each): they cannot be told apart here."
