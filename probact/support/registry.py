"""Names of interchangeable parts: the one place where a string becomes a class."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, ClassVar, Generic, TypeVar

from probact.support.words import in_one_line

Part = TypeVar("Part")
Own = TypeVar("Own", bound=type)


class UnknownPartError(ValueError):
    """A name that no part has: a plug-in's, perhaps, whose module was not imported.

    :ivar modules: those that were imported where the name was in use, if that is known.
    """

    modules: tuple[str, ...] = ()

    def within(self, path: Path, modules: Iterable[str] = ()) -> UnknownPartError:
        """The same of a name in the file ``path``, which was made after ``modules`` were imported."""
        known = tuple(modules)
        source = f"made with {', '.join(known)}" if known else "if a plug-in has it"
        error = UnknownPartError(f"{path}: {self} ({source}: import its module first)")
        error.modules = known
        return error


class Registry(Generic[Part]):
    """Name -> class of ``Part``, in the order of registration; those of installed plug-ins come last.

    A plug-in is an entry point of ``group``: the part's name, and its class or the module that registers it.  Plug-ins
    are loaded when a name is asked for that is not yet known, or all names.  One that fails is named in a warning.

    :param kind: what a part is, for messages.
    :param base: what its class has to be a subclass of.
    :param group: the group of entry points; empty: none.

    >>> shapes = Registry("shape", object)
    >>> @shapes.register("circle")
    ... class Circle:
    ...     "A round one."
    >>> shapes["circle"] is Circle, shapes.describe("circle")
    (True, 'A round one.')
    >>> shapes["square"]
    Traceback (most recent call last):
    probact.support.registry.UnknownPartError: unknown shape 'square': choose from circle
    """

    num_registered: ClassVar[int] = 0
    """Classes so far, in all registries."""

    def __init__(self, kind: str, base: type, group: str = "") -> None:
        self.kind = kind
        self._base = base
        self._parts: dict[str, type[Part]] = {}
        self._group = group
        self._failures: dict[str, str] | None = None  # of plug-ins, by name; None before they are loaded

    def register(self, name: str) -> Callable[[Own], Own]:
        """Class decorator: makes the class known as ``name`` and sets its ``name`` attribute.

        :raises ValueError: if it is no word, if another class has that name, or on a class of another kind.
        """
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"{self.kind}: expected a name like 'my-{self.kind.split()[-1]}', got {name!r}")

        def add(part: Own) -> Own:
            fits = isinstance(part, type) and issubclass(part, self._base)
            if not fits:
                raise ValueError(f"{self.kind} {name!r}: expected a subclass of {self._base.__name__}, got {part!r}")
            if name in self._parts:
                modules = f"{self._parts[name].__module__} and {part.__module__}"
                raise ValueError(f"{self.kind} {name!r}: expected one class of that name, got those of {modules}")
            if part in self._parts.values():
                raise ValueError(f"{self.kind} {name!r}: its class is already registered as {part.name!r}")  # type: ignore[attr-defined]
            self._parts[name] = part
            Registry.num_registered += 1
            part.name = name  # type: ignore[attr-defined]
            return part

        return add

    def __getitem__(self, name: str) -> type[Part]:
        if name not in self:
            raise UnknownPartError(f"unknown {self.kind} {name!r}: choose from {', '.join(self)}{self.why_not(name)}")
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(tuple(self._parts))

    def __contains__(self, name: object) -> bool:
        return name in self._parts or name in tuple(self)

    def why_not(self, name: str) -> str:
        """For the end of a message on an unknown ``name``: how the plug-in failed that has it, if there is one."""
        return f" ({self._failures[name]})" if self._failures and name in self._failures else ""

    @contextmanager
    def temporarily(self) -> Iterator[None]:
        """What is registered within is gone afterwards: for tests."""
        before = {name: self[name] for name in self}
        try:
            yield
        finally:
            self._parts = before

    def _load_plugins(self) -> None:
        if self._failures is not None:
            return
        self._failures = {}
        for point in entry_points(group=self._group) if self._group else ():
            try:
                self._load(point)
            except Exception as error:  # whatever a stranger's module does, the package goes on without it
                reason = f"{type(error).__name__}: {error}".partition("\n")[0]
                self._failures[point.name] = f"plug-in {point.name} = {point.value} failed: {reason}"
                logging.getLogger(__name__).warning("%s %s", self.kind, self._failures[point.name])

    def _load(self, point: EntryPoint) -> None:
        part = point.load()
        if inspect.isclass(part) and self._parts.get(point.name) is not part:
            self.register(point.name)(part)
        elif point.name not in self._parts:
            raise ValueError(f"expected the module to register a {self.kind} of that name")

    def describe(self, name: str) -> str:
        """First line of the class's docstring."""
        return (inspect.getdoc(self[name]) or "").partition("\n")[0]

    def keywords(self, name: str) -> dict[str, Any]:
        """The keyword parameters of the class that have a default, with it."""
        parameters = inspect.signature(self[name]).parameters.items()
        return {key: entry.default for key, entry in parameters if entry.default is not inspect.Parameter.empty}

    def build(self, name: str, options: Mapping[str, Any] | None = None, **given: Any) -> Part:
        """Construct ``name`` with user-given ``options`` (str -> str or number) beside ``given``.

        Options are the keyword parameters of the class that have a default; a string is read as
        that default's type.

        :raises ValueError: on an option that the class does not have or cannot read.
        """
        defaults = {key: default for key, default in self.keywords(name).items() if key not in given}
        known = {key: default for key, default in defaults.items() if default is not None}
        read = {}
        for key, value in (options or {}).items():
            if key not in known:
                choices = ", ".join(known) or "none"
                raise ValueError(f"{self.kind} {name!r} has no option {key!r}: choose from {choices}")
            read[key] = _convert(value, known[key], f"option {key!r} of {self.kind} {name!r}")
        try:
            return self[name](**given, **read)
        except (ValueError, OSError):
            raise
        except Exception as error:  # an abstract method that is not there, a constructor that wants more
            said = "".join(f", {key}={value!r:.30}" for key, value in read.items())
            raised = f"raised {type(error).__name__}: {in_one_line(error)}"
            raise ValueError(f"{self.kind} {name!r}{said} {raised}") from error


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
