"""Names of interchangeable parts: the one place where a string becomes a class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

Part = TypeVar("Part", bound=type)


class Registry:
    """Name -> class, in the order of registration.

    >>> shapes = Registry("shape")
    >>> @shapes.register("circle")
    ... class Circle:
    ...     "A round one."
    >>> shapes["circle"] is Circle, shapes.describe("circle")
    (True, 'A round one.')
    >>> shapes["square"]
    Traceback (most recent call last):
    ValueError: unknown shape 'square': choose from circle
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Part], Part]:
        """Class decorator: makes the class known as ``name`` and sets its ``name`` attribute."""

        def add(part: Part) -> Part:
            if name in self._parts:
                raise ValueError(f"{self.kind} {name!r} is already registered")
            self._parts[name] = part
            part.name = name  # type: ignore[attr-defined]
            return part

        return add

    def __getitem__(self, name: str) -> Any:
        if name not in self._parts:
            raise ValueError(f"unknown {self.kind} {name!r}: choose from {', '.join(self._parts)}")
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def describe(self, name: str) -> str:
        """First line of the class's docstring."""
        return (inspect.getdoc(self[name]) or "").partition("\n")[0]

    def build(self, name: str, options: Mapping[str, Any] | None = None, **given: Any) -> Any:
        """Construct ``name`` with user-given ``options`` (str -> str or number) beside ``given``.

        Options are the keyword parameters of the class that have a default; a string is read as
        that default's type.

        :raises ValueError: on an option that the class does not have or cannot read.
        """
        part = self[name]
        known = {
            key: parameter.default
            for key, parameter in inspect.signature(part).parameters.items()
            if parameter.default is not inspect.Parameter.empty and key not in given
        }
        read = {}
        for key, value in (options or {}).items():
            if key not in known:
                choices = ", ".join(known) or "none"
                raise ValueError(f"{self.kind} {name!r} has no option {key!r}: choose from {choices}")
            read[key] = _convert(value, known[key], f"option {key!r} of {self.kind} {name!r}")
        return part(**given, **read)


def _convert(value: Any, default: Any, what: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[value.lower()]
        if isinstance(default, tuple):
            return tuple(type(default[0])(item) for item in value.split(",") if item)
        return type(default)(value)
    except (ValueError, KeyError):
        raise ValueError(f"{what}: expected {type(default).__name__} like {default!r}, got {value!r}") from None


def import_parts(package: str) -> None:
    """Import every module of ``package`` (its ``__name__``), so that each registers its parts."""
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        import_module(module.name)
