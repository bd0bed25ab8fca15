"""Update rules; every module in this package registers its own."""

from importlib import import_module
from pkgutil import iter_modules

from probact.rules.base import State, Step, UpdateRule

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = ["State", "Step", "UpdateRule"]
