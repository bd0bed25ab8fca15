"""probact: learned optimizers that know when to stop.

Names are loaded when first used, so that a part of the package costs only what it imports.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "ACT": "inference.objectives.act",
    "Experiment": "runs.experiment",
    "HaltingPosterior": "inference.posteriors.base",
    "LearnedOptimizer": "drop_in.learned_optimizer",
    "MetaTraining": "training.meta_training",
    "NetworkFamily": "problems.network",
    "Optimizee": "problems.base",
    "OptimizeeFamily": "problems.base",
    "PonderCost": "inference.objectives.ponder",
    "Prior": "inference.priors",
    "Rollout": "unrolling.rollout",
    "Run": "runs.run",
    "SumOfLosses": "inference.objectives.losses",
    "UpdateRule": "rules.base",
    "to_datatree": "reports.posterior_tree",
    "unroll": "unrolling.rollout",
}
__all__ = list(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
