"""What a posterior file says: its layout, reading and writing it.

Groups of the ``xarray.DataTree``, chain = independently trained seed; each variable has ``long_name`` and ``units``::

    posterior, prior   T, t                       (chain, draw, optimizee)  int64, 1-based
    log_likelihood     x                          (chain, draw, optimizee)  log p(x|theta_t) at the t drawn, nats
                       x_by_step                  (chain, optimizee, step)  the same at every step
    observed_data      x                          (optimizee, observation)  where a problem's x is a table of numbers
    posterior_predictive  x                       (chain, draw, optimizee, observation)  the same, drawn from
                                                 p(x|theta_t) at the first few t of ``posterior``; NaN where diverged
    constant_data      halt_pmf, exact_pmf        (chain, optimizee, step)         q(t|x), p(t|x)
                       horizon_pmf, exact_horizon_pmf (chain, optimizee, horizon)  q(T|x), p(T|x)
                       loss_path                  (chain, optimizee, step)         nll after 1..H steps, nats
                       initial_loss, elbo, log_evidence, amortisation_gap, horizon_gap  (chain, optimizee)  nats;
                                                 without a halting posterior bound and gaps are NaN
                       tempered_pmf, tempered_horizon_pmf, tempered_gap  as exact_pmf, exact_horizon_pmf and
                                                 amortisation_gap, but at the KL scale kappa that q was trained at
                                                 (attribute ``tempered_at``): its best q is ~ p(t) p(x|t)^(1 / kappa)
                       stop_own, stop_budget, stop_patience, stop_oracle  (chain, optimizee)  int64: where the
                                                 optimizer's own stop rule (attribute ``stop_rules``) stops at the price
                                                 of a step (attribute ``price``), and what it is compared with; see
                                                 ``judging.own_stop``
                       optimum                    (optimizee)               smallest nll, NaN where unknown
                       prior_pmf (step), horizon_prior (horizon)

``difficulty`` is a coordinate of the problems: ``stop_oracle``, mean over chains.  What a family knows beforehand
(rank, condition number, loss at the start) says little of it: how long to go on is a matter of the optimizer, too.
Where a family counts how much there is to do (``Optimizee.size``), that is the coordinate ``size`` beside it.
The exact tables are the result; the draws exist so that ArviZ can be used.  In files of 0.1.0 the tables of a single
chain have no ``chain``, and there are no stops and no likelihoods.  Nothing here needs torch.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
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
MEANINGS: dict[str, tuple[str, str]] = {
    "t": ("halting step", "steps"),
    "T": ("horizon", "steps"),
    "x": ("observations", "1"),
    "x_by_step": ("log p(x|theta_t) after each step", "nats"),
    "halt_pmf": ("learned q(t|x)", "1"),
    "exact_pmf": ("exact p(t|x)", "1"),
    "horizon_pmf": ("learned q(T|x)", "1"),
    "exact_horizon_pmf": ("exact p(T|x)", "1"),
    "loss_path": ("loss -log p(x|theta_t) after each step", "nats"),
    "initial_loss": ("loss at the start", "nats"),
    "elbo": ("bound of the log evidence", "nats"),
    "log_evidence": ("log evidence log p(x)", "nats"),
    "amortisation_gap": ("KL from q to the exact posterior given T, mean over p(T)", "nats"),
    "horizon_gap": ("what the bound loses as the guide does not infer T", "nats"),
    "tempered_pmf": ("exact p(t|x) at the KL scale of training", "1"),
    "tempered_horizon_pmf": ("exact p(T|x) at the KL scale of training", "1"),
    "tempered_gap": ("amortisation gap at the KL scale of training", "nats"),
    "stop_own": ("where the own stop rule stops", "steps"),
    "stop_budget": ("where the best fixed budget stops", "steps"),
    "stop_patience": ("where the best patience stops", "steps"),
    "stop_oracle": ("step with the smallest loss + price, in hindsight", "steps"),
    "optimum": ("smallest possible loss", "nats"),
    "prior_pmf": ("prior p(t)", "1"),
    "horizon_prior": ("prior p(T)", "1"),
    "difficulty": ("best step in hindsight, mean over chains", "steps"),
    "size": ("how much there is to do, as the family counts it", "1"),
    "step": ("steps made", "steps"),
    "horizon": ("horizon", "steps"),
}
"""Name -> ``long_name`` and ``units``; "1" is that of what has none."""
_AT_SCALE_1 = {
    "tempered_pmf": "exact_pmf",
    "tempered_horizon_pmf": "exact_horizon_pmf",
    "tempered_gap": "amortisation_gap",
}


def described(data: xr.Dataset) -> xr.Dataset:
    """``data``, each of its variables with ``long_name`` and ``units``, as far as they are known."""
    for name in {*data.variables} & {*MEANINGS}:
        data[name].attrs = dict(zip(("long_name", "units"), MEANINGS[str(name)], strict=True))
    return data


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


def price(tree: xr.DataTree) -> float:
    """What a step costs, in nats."""
    return float(tree.attrs.get("price", -kl_scale(tree) * math.log(tree.attrs["prior_nu"])))


def tables(tree: xr.DataTree) -> xr.Dataset:
    """``constant_data``, also of an older file: ``chain`` on the tables of ``CHAIN_TABLES``, oracle and difficulty."""
    data = tree["constant_data"].to_dataset()
    data = data.assign({name: data[plain] for name, plain in _AT_SCALE_1.items() if name not in data})
    if "chain" not in data.dims:
        data = data.assign({name: data[name].expand_dims(chain=[0]) for name in CHAIN_TABLES if name in data})
    if "stop_oracle" not in data:
        cost = data.loss_path.fillna(math.inf) + price(tree) * data.step
        data = data.assign(stop_oracle=1 + cost.argmin("step"))
    if "difficulty" not in data.coords:
        data = described(data.assign_coords(difficulty=data.stop_oracle.mean("chain")))
    return data


def finite(tree: xr.DataTree) -> xr.Dataset:
    """``tables`` of the problems that diverged in no chain."""
    data = tables(tree)
    return data.sel(optimizee=np.isfinite(data.loss_path).all(("chain", "step")))
