"""What a posterior file says: its layout, reading and writing it.

Groups of the ``xarray.DataTree``, chain = independently trained seed::

    posterior, prior   T, t                       (chain, draw, optimizee)  int64, 1-based
    constant_data      halt_pmf, exact_pmf        (optimizee, step)         q(t|x), p(t|x)
                       horizon_pmf, exact_horizon_pmf (optimizee, horizon)  q(T|x), p(T|x)
                       loss_path                  (optimizee, step)         nll after 1..H steps, nats
                       initial_loss, elbo, log_evidence, amortisation_gap, horizon_gap  (optimizee)  nats;
                                                 without a halting posterior bound and gaps are NaN
                       tempered_pmf, tempered_horizon_pmf, tempered_gap  as exact_pmf, exact_horizon_pmf and
                                                 amortisation_gap, but at the KL scale kappa that q was trained at
                                                 (attribute ``tempered_at``): its best q is ~ p(t) p(x|t)^(1 / kappa)
                       stop_own, stop_budget, stop_patience, stop_oracle  (optimizee)  int64: where the optimizer's
                                                 own stop rule (attribute ``stop_rules``) stops at the price of a step
                                                 (attribute ``price``), and what it is compared with; see
                                                 ``judging.own_stop``
                       optimum                    (optimizee)               smallest nll, NaN where unknown
                       prior_pmf (step), horizon_prior (horizon)

With several chains every table of ``CHAIN_TABLES`` has a leading ``chain``.  The exact tables are the result; the draws
exist so that ArviZ can be used.  Nothing here needs torch.
"""

from __future__ import annotations

import io
from pathlib import Path

import xarray as xr

from probact.support.checksums import sealed, unsealed
from probact.support.files import write_atomically
from probact.support.missing import MissingError

STOPS = ("own", "budget", "patience", "oracle")
CHAIN_TABLES: dict[str, tuple[str, ...]] = {
    "halt_pmf": ("optimizee", "step"),
    "exact_pmf": ("optimizee", "step"),
    "horizon_pmf": ("optimizee", "horizon"),
    "exact_horizon_pmf": ("optimizee", "horizon"),
    "loss_path": ("optimizee", "step"),
    "initial_loss": ("optimizee",),
    "elbo": ("optimizee",),
    "log_evidence": ("optimizee",),
    "amortisation_gap": ("optimizee",),
    "horizon_gap": ("optimizee",),
    "tempered_pmf": ("optimizee", "step"),
    "tempered_horizon_pmf": ("optimizee", "horizon"),
    "tempered_gap": ("optimizee",),
    **{f"stop_{name}": ("optimizee",) for name in STOPS},
}
_AT_SCALE_1 = {
    "tempered_pmf": "exact_pmf",
    "tempered_horizon_pmf": "exact_horizon_pmf",
    "tempered_gap": "amortisation_gap",
}


def save(tree: xr.DataTree, path: Path) -> None:
    """Write netCDF, compressed, atomically, with a checksum of the whole, and of each variable for other readers."""
    encoding = {
        f"/{name}": {variable: {"zlib": True, "complevel": 4, "fletcher32": True} for variable in group.data_vars}
        for name, group in tree.children.items()
    }
    write_atomically(path, sealed(bytes(tree.to_netcdf(engine="h5netcdf", encoding=encoding))))


def load(path: Path) -> xr.DataTree:
    """:raises ValueError: if ``path`` is not a readable posterior file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file", "report", path.parent) from None
    try:
        with xr.open_datatree(io.BytesIO(unsealed(content)), engine="h5netcdf") as tree:
            loaded = tree.load()
            loaded["constant_data/halt_pmf"]
            return loaded
    except (OSError, KeyError, ValueError):
        raise ValueError(f"{path}: not a posterior file, or a damaged one") from None


def has_posterior(tree: xr.DataTree) -> bool:
    """Whether a halting posterior was learned; without one the exact posterior stands in its place."""
    return bool(tree.attrs["halting"] != "none")


def kl_scale(tree: xr.DataTree) -> float:
    """kappa of the tempered tables; 1 in a file of before there were any."""
    return float(tree.attrs.get("tempered_at", 1.0))


def tables(tree: xr.DataTree) -> xr.Dataset:
    """``constant_data`` with a ``chain`` dimension on the tables of ``CHAIN_TABLES``."""
    data = tree["constant_data"].to_dataset()
    data = data.assign({name: data[plain] for name, plain in _AT_SCALE_1.items() if name not in data})
    if "chain" in data.dims:
        return data
    return data.assign({name: data[name].expand_dims(chain=[0]) for name in CHAIN_TABLES if name in data})
