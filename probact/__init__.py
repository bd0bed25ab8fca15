"""probact: learned optimizers that know when to stop.

Names are loaded when first used, so that a part of the package costs only what it imports.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "ACT": "act",
    "Experiment": "experiment",
    "HaltingPosterior": "posteriors",
    "LearnedOptimizer": "optim",
    "MetaTraining": "training",
    "NetworkFamily": "optimizees",
    "Optimizee": "optimizees",
    "OptimizeeFamily": "optimizees",
    "PonderCost": "objectives",
    "Prior": "priors",
    "Rollout": "rollout",
    "Run": "runs",
    "SumOfLosses": "objectives",
    "UpdateRule": "rules",
    "to_datatree": "diagnostics",
    "unroll": "rollout",
}
__all__ = list(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
