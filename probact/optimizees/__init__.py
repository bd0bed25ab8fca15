"""Problem families; every module in this package registers its own."""

from importlib import import_module
from pkgutil import iter_modules

from probact.optimizees.base import Optimizee, OptimizeeFamily, Params, Shared, value_and_grad
from probact.optimizees.network import NetworkFamily

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = ["NetworkFamily", "Optimizee", "OptimizeeFamily", "Params", "Shared", "value_and_grad"]
