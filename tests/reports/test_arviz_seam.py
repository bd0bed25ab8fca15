"""What both major versions of ArviZ need from a figure's data: 0.23 is lenient, 1.x draws something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from probact.reports import arviz_seam

H, NUM_PROBLEMS, NUM_DRAWS = 6, 3, 50


def tree(num_chains: int) -> xr.DataTree:
    pmf = np.full((num_chains, NUM_PROBLEMS, H), 1 / H)
    names = ("tempered_pmf", "tempered_horizon_pmf", "tempered_gap")
    tables = xr.Dataset(dict.fromkeys(names, (("chain", "optimizee", "step"), pmf)))
    t = np.random.default_rng(1).integers(1, H + 1, (num_chains, NUM_DRAWS, NUM_PROBLEMS))
    coords = {"chain": range(num_chains), "draw": range(NUM_DRAWS), "optimizee": range(NUM_PROBLEMS)}
    posterior = xr.Dataset({"t": (("chain", "draw", "optimizee"), t)}, coords)
    return xr.DataTree.from_dict({"constant_data": tables, "posterior": posterior})


@pytest.mark.parametrize("num_chains", [1, 3])
def test_rank_plots_name_their_chains(num_chains: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without coordinates 1.x takes each draw for a chain: 2,000 slivers in 24 seconds."""
    seen: list[xr.Dataset] = []
    plot = arviz_seam.az.plot_rank

    def spy(data: xr.Dataset, **options: Any) -> Any:
        seen.append(data)
        return plot(data, **options)

    monkeypatch.setattr(arviz_seam.az, "plot_rank", spy)
    figure: Any = arviz_seam.rank(tree(num_chains))
    (data,) = seen
    assert data.chain.values.tolist() == list(range(num_chains + 1))
    assert "draw" in data.coords
    assert f"chain {num_chains})" in figure.get_suptitle()
