"""What a learning curve's axis says: the objective of a training, and its unit."""

from __future__ import annotations

import xarray as xr

UNITS = {
    "elbo": ("-ELBO", "nats"),
    "sum-of-losses": ("sum of the losses over all steps", "nats"),
    "log-loss": ("mean of the log losses over all steps", "no unit"),
    "final-loss": ("log of the share of the loss that is left at the end", "no unit"),
    "ponder-cost": ("loss expected at the halt + price of pondering", "nats"),
    "anytime": ("best loss, mean over steps + at the end", "nats"),
    "observed-improvement": ("-improvement on the first query", "nats"),
    "expected-improvement": ("-expected improvements, their sum over queries", "nats"),
}
"""Name of an objective -> what it is, and in what it is measured."""


def objective_of(tree: xr.DataTree) -> tuple[str, str]:
    """What this run's training minimised, and its unit, empty where an objective is not known here.

    >>> objective_of(xr.DataTree()), objective_of(xr.DataTree(xr.Dataset(attrs={"objective": "elbo"})))
    (('objective', ''), ('-ELBO', 'nats'))
    """
    name = str(tree.attrs.get("objective", "objective"))
    return UNITS.get(name, (name, ""))


def with_unit(tree: xr.DataTree) -> str:
    """As text for an axis: ``-ELBO (nats)``."""
    what, unit = objective_of(tree)
    return f"{what} ({unit})" if unit else what
