"""Runs for a page, made up by hand: no training."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from probact.reports.halting_statistics import halting_statistics
from probact.reports.page.run_section import Reported
from probact.reports.run_report import Summary
from tests.helpers.trees import made_up_records, made_up_tree


def whole_tree(num_chains: int = 1, **options: Any) -> xr.DataTree:
    """``made_up_tree`` with all tables that a summary needs."""
    tree = made_up_tree(num_chains, **options)
    data = tree["constant_data"].to_dataset()
    flat = np.full(data.sizes["step"], 1 / data.sizes["step"])
    tree["constant_data"] = xr.DataTree(
        data.assign(horizon_prior=("horizon", flat)).assign_coords(horizon=data.step.values)
    )
    return tree


def reported(name: str = "runs/one", num_chains: int = 1, tree: xr.DataTree | None = None, **changes: Any) -> Reported:
    """A run of ``whole_tree``; ``changes`` of its summary."""
    tree = whole_tree(num_chains) if tree is None else tree
    records = [{**record, "seconds": 0.5, "skipped": 0} for record in made_up_records()]
    found: dict[str, Any] = {
        **vars(halting_statistics(tree)), "family": "made up", "rule": "none", "prior_nu": 0.9, "initial_loss": 18.0,
        "halting_posterior": str(tree.attrs["halting"]), "seeds": tuple(range(num_chains)), "optimum": 10.0,
        "loss_at": {"1": 16.0, "30": 10.5}, "start_loss_at": {"1": 17.0, "30": 14.0}, "seconds": 12.0,
        "adam_loss_at": {"1": 15.0, "30": 10.6}, "adam_lr": 0.1, "environment": {"Python": "3.11.7"},
    }  # fmt: skip
    return Reported(
        name=name,
        tree=tree,
        records={f"seed {seed}": records for seed in range(num_chains)},
        summary=Summary(**{**found, **changes}),
        commands={"The run:": "python cli.py fit --prior-nu 0.9", "This page again:": f"python cli.py report {name}"},
        config='{"family": "made up"}',
    )
