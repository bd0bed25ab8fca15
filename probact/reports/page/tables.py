"""The tables of a page: of a run as a whole, of its problems, and of runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from probact.reports.compared_text import EVIDENCE, STOPS, evidence_cells, stop_cells
from probact.reports.halting_statistics import HaltingStatistics
from probact.reports.page.elements import table
from probact.reports.posterior_file import price
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
from probact.reports.run_report import Summary
from probact.reports.runs_compared import RunsCompared


def _flat(rows: Any) -> list[list[Any]]:
    return [[label, *cells] for label, cells in rows]


def worth(statistics: HaltingStatistics) -> str:
    """Own stop, budget, patience, hindsight and all steps; empty where the file does not know."""
    if not statistics.stopping.verdict:
        return ""
    caption = _sentence(worth_note(statistics))
    return table(caption, WORTH, _flat(worth_rows(statistics.stopping)), label="stopped by")


def losses(summary: Summary) -> str:
    """Trained, before training, Adam."""
    steps = [f"step {step}" for step in summary.loss_at]
    return table(_sentence(loss_note(summary)), steps, _flat(loss_rows(summary)), label="after")


def halting(statistics: HaltingStatistics, learned: bool) -> str:
    """Prior, q and exact posterior, averaged over the problems."""
    caption = f"Halting step: mean, deviation and quantiles over {statistics.num_optimizees:,} held-out problems"
    return table(caption, STEP, _flat(step_rows(statistics, learned)), label="distribution")


def evidence(statistics: HaltingStatistics, learned: bool) -> str:
    """Evidence, and with a q its bound and gaps."""
    where = " at KL scale 1" if at_scale(statistics) else ""
    return table(
        f"Evidence{where}, mean over problems", ["nats"], _flat(evidence_rows(statistics, learned)), label="quantity"
    )


def problems(data: xr.Dataset, tree: xr.DataTree, learned: bool) -> str:
    """One row a problem, from easy to hard; means over the seeds."""
    cost, mean = price(tree), data.mean("chain")
    columns: dict[str, Any] = {"best step": data.stop_oracle.mean("chain")}
    if "size" in data.coords:
        columns["size"] = data["size"].astype(float)
    if "stop_own" in data:
        J = {
            name: data.loss_path.sel(step=data[f"stop_{name}"]) + cost * data[f"stop_{name}"]
            for name in ("own", "budget", "patience", "oracle")
        }
        columns |= {f"{name}": mean[f"stop_{name}"] for name in ("own", "budget", "patience")}
        columns["own stop"] = columns.pop("own")
        columns["loss + price there"] = J["own"].mean("chain")
        columns |= {
            f"lost by {label}": (J[name] - J["oracle"]).mean("chain")
            for name, label in (("own", "own stop"), ("budget", "budget"), ("patience", "patience"))
        }
    columns["log p(x)"] = mean.log_evidence
    if learned:
        columns |= {"amortisation gap": mean.amortisation_gap, "horizon gap": mean.horizon_gap}
    numbers = [values.values.tolist() for values in columns.values()]
    kept = data.optimizee.values.tolist()
    rows = [[f"no. {number}", *map(_short, cells)] for number, *cells in zip(kept, *numbers, strict=True)]
    seeds = f", means over {data.sizes['chain']} seeds" if data.sizes["chain"] > 1 else ""
    caption = f"Each problem, steps and nats{seeds}"
    return table(caption, list(columns), rows, label="problem", long=True)


def _short(value: float) -> str:
    return "-" if value != value else f"{value:.0f}" if value == int(value) else f"{value:.4g}"


def chains(rows: Sequence[Sequence[Any]], objective: str) -> str:
    """One row a training seed.

    :param objective: what was validated, with its unit.
    """
    columns = ["meta-steps", "kept", "validation", "own stop", "loss + price", "gap", "skipped updates", "seconds"]
    return table(
        f"Each training seed; validation: {objective}; loss + price and gap in nats", columns, rows, label="training"
    )


def compared(found: RunsCompared) -> str:
    """Runs on the same problems: their stops, and their evidence."""
    lost = f"; {found.num_diverged} diverged in some run and are left out" if found.num_diverged else ""
    where = f"{found.num_optimizees:,} held-out problems of {found.family}{lost}; a step costs {found.price:.4g} nats"
    stops = [[run.run, run.num_seeds, *stop_cells(run)] for run in found.runs]
    of_evidence = [[run.run, *evidence_cells(run)] for run in found.runs]
    return table(f"Each run at its own stop, on the same {where}", ["seeds", *STOPS], stops, label="run") + table(
        "Log evidence, in nats", EVIDENCE, of_evidence, label="run"
    )


def environment(found: dict[str, str]) -> str:
    """What the run ran on."""
    return table(
        "Versions and machine", ["version or number"], [[name, text] for name, text in found.items()], label="name"
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
