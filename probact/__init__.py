"""probact: learned optimizers that know when to stop.

Names are loaded when first used, so that a part of the package costs only what it imports.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from probact.support.version import __version__ as __version__

if TYPE_CHECKING:
    from probact.drop_in.learned_optimizer import LearnedOptimizer as LearnedOptimizer
    from probact.inference import exact as exact
    from probact.inference.objectives.act import ACT as ACT
    from probact.inference.objectives.base import OBJECTIVES as OBJECTIVES, Objective as Objective
    from probact.inference.objectives.estimators import ESTIMATORS as ESTIMATORS, Estimator as Estimator
    from probact.inference.objectives.losses import LogLoss as LogLoss, SumOfLosses as SumOfLosses
    from probact.inference.objectives.ponder import PonderCost as PonderCost
    from probact.inference.posteriors.base import (
        POSTERIORS as POSTERIORS,
        HaltingDistribution as HaltingDistribution,
        HaltingPosterior as HaltingPosterior,
    )
    from probact.inference.posteriors.conditioned import Conditioned as Conditioned
    from probact.inference.posteriors.sequential import Sequential as Sequential
    from probact.inference.prior_parts import (
        HALTING_PRIORS as HALTING_PRIORS,
        HORIZON_PRIORS as HORIZON_PRIORS,
        HaltingPrior as HaltingPrior,
        HorizonPrior as HorizonPrior,
    )
    from probact.inference.priors import Prior as Prior
    from probact.monitoring.monitor import HaltingMonitor as HaltingMonitor
    from probact.problems.base import (
        FAMILIES as FAMILIES,
        Optimizee as Optimizee,
        OptimizeeFamily as OptimizeeFamily,
        Shared as Shared,
    )
    from probact.problems.labelled import Labelled as Labelled
    from probact.problems.network import NetworkFamily as NetworkFamily
    from probact.reports.halting_statistics import halting_statistics as halting_statistics
    from probact.reports.posterior_tree import to_datatree as to_datatree
    from probact.rules.base import RULES as RULES, Step as Step, UpdateRule as UpdateRule
    from probact.rules.computation import Computation as Computation
    from probact.rules.hand_designed import HandDesigned as HandDesigned
    from probact.runs.experiment import Experiment as Experiment
    from probact.runs.run import Run as Run
    from probact.runs.trained import TrainedOptimizer as TrainedOptimizer
    from probact.searching.optimizer import BlackBoxOptimizer as BlackBoxOptimizer
    from probact.stopping.base import STOP_RULES as STOP_RULES, Known as Known, StopRule as StopRule
    from probact.stopping.online import run_until_stopped as run_until_stopped
    from probact.stopping.rules import (
        Budget as Budget,
        Cumulative as Cumulative,
        GradientNorm as GradientNorm,
        Hazard as Hazard,
        Patience as Patience,
        Stochastic as Stochastic,
    )
    from probact.support.sight import Sight as Sight
    from probact.support.trees import Params as Params, State as State
    from probact.training.meta_training import MetaTraining as MetaTraining
    from probact.unrolling.rollout import Rollout as Rollout, unroll as unroll

_HOME = {
    "ACT": "inference.objectives.act",
    "BlackBoxOptimizer": "searching.optimizer",
    "Budget": "stopping.rules",
    "Computation": "rules.computation",
    "Conditioned": "inference.posteriors.conditioned",
    "Cumulative": "stopping.rules",
    "ESTIMATORS": "inference.objectives.estimators",
    "Estimator": "inference.objectives.estimators",
    "Experiment": "runs.experiment",
    "FAMILIES": "problems.base",
    "GradientNorm": "stopping.rules",
    "HALTING_PRIORS": "inference.prior_parts",
    "HORIZON_PRIORS": "inference.prior_parts",
    "HaltingDistribution": "inference.posteriors.base",
    "HaltingMonitor": "monitoring.monitor",
    "HaltingPosterior": "inference.posteriors.base",
    "HaltingPrior": "inference.prior_parts",
    "HandDesigned": "rules.hand_designed",
    "Hazard": "stopping.rules",
    "HorizonPrior": "inference.prior_parts",
    "Known": "stopping.base",
    "Labelled": "problems.labelled",
    "LearnedOptimizer": "drop_in.learned_optimizer",
    "LogLoss": "inference.objectives.losses",
    "MetaTraining": "training.meta_training",
    "NetworkFamily": "problems.network",
    "OBJECTIVES": "inference.objectives.base",
    "Objective": "inference.objectives.base",
    "Optimizee": "problems.base",
    "OptimizeeFamily": "problems.base",
    "POSTERIORS": "inference.posteriors.base",
    "Params": "support.trees",
    "Patience": "stopping.rules",
    "PonderCost": "inference.objectives.ponder",
    "Prior": "inference.priors",
    "RULES": "rules.base",
    "Rollout": "unrolling.rollout",
    "Run": "runs.run",
    "STOP_RULES": "stopping.base",
    "Sequential": "inference.posteriors.sequential",
    "Shared": "problems.base",
    "Sight": "support.sight",
    "State": "support.trees",
    "Step": "rules.base",
    "Stochastic": "stopping.rules",
    "StopRule": "stopping.base",
    "SumOfLosses": "inference.objectives.losses",
    "TrainedOptimizer": "runs.trained",
    "UpdateRule": "rules.base",
    "exact": "inference.exact",
    "halting_statistics": "reports.halting_statistics",
    "run_until_stopped": "stopping.online",
    "to_datatree": "reports.posterior_tree",
    "unroll": "unrolling.rollout",
}
__all__ = list(_HOME)

if not TYPE_CHECKING:  # a type checker knows the names above and no others
    from probact.support.extras import remedy

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            module = import_module(f"{__name__}.{_HOME[name]}")
        except ModuleNotFoundError as error:
            if message := remedy(error):
                raise ImportError(f"{__name__}.{name}: {message}", name=error.name) from None
            raise
        return getattr(module, name, module)
