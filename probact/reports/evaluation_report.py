"""What an evaluation leaves in its folder."""

from __future__ import annotations

import json
from pathlib import Path

import xarray as xr

from probact.judging.results import Evaluation
from probact.support.extras import is_installed
from probact.support.files import write_atomically


def write(result: Evaluation, data: xr.Dataset, out: Path) -> None:
    """``evaluation.nc``, ``evaluation.json`` and, with the extra ``plots``, ``figures`` to the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    data.attrs = {"family": result.family, "seed": result.seed, "settings": json.dumps(result.runs)}
    checked = {name: {"fletcher32": True} for name in data.data_vars}
    write_atomically(out / "evaluation.nc", bytes(data.to_netcdf(engine="h5netcdf", encoding=checked)))
    write_atomically(out / "evaluation.json", result.to_json(indent=1) + "\n")
    if is_installed("plots"):
        from probact.reports.evaluation_figures import draw_all

        draw_all(data, result, out / "figures")
