"""What a setting is, declared once: options, checks, table and JSON schema are made from the declaration."""

from __future__ import annotations

import math
import operator
import reprlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from probact.support.registry import Registry, UnknownPartError

_EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a table of options",
    tuple: "two numbers, the lower first,",
}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", tuple: "array"}
_LIMITS = (
    ("above", ">", operator.gt, "exclusiveMinimum"),
    ("at_least", ">=", operator.ge, "minimum"),
    ("below", "<", operator.lt, "exclusiveMaximum"),
)
_BEYOND: dict[type, float] = {int: 2**63, float: 1e30}
"""What numbers have to be smaller than: those of 64 bits, and of weights, which are of 32."""
_JSON_OPTION: dict[str, Any] = {"type": ["string", "number", "boolean", "array"]}


@dataclass(frozen=True)
class Setting:
    """The declaration of one setting.

    :ivar default: its type is the type of all values; ``""``, ``()`` and 0, beyond the limits, stand for none.
    :ivar help: for ``--help``, the table and the schema.
    :ivar above, at_least, below: limits of a number, or of both of a range, which is a tuple.
    :ivar parts, names: what a text may be: the names of a registry's parts, those of plug-ins included, or of these.
    :ivar base: of the parts, only those of this class.
    :ivar options: the command-line options, where they are not the setting's name: for true and for false.
    :ivar several: whether ``fit`` takes several, one for each training.
    """

    default: Any
    help: str = ""
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    parts: Registry[Any] | None = None
    base: type = object
    names: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    several: bool = False

    @property
    def kind(self) -> type:
        return type(self.default)

    @property
    def choices(self) -> tuple[str, ...]:
        """All that a text may be; empty if that is any."""
        return (*filter(self._is_part, self.parts or ()), *self.names)

    @property
    def json_type(self) -> str:
        return _JSON_TYPES[self.kind]

    @property
    def limits(self) -> str:
        """Such as ``> 0 and < 1``; empty without limits."""
        named = ((sign, getattr(self, name)) for name, sign, _, _ in _LIMITS)
        return " and ".join(f"{sign} {limit}" for sign, limit in named if limit is not None)

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return f"{_EXPECTED[self.kind]} {self.limits}".rstrip()

    def is_none(self, value: Any) -> bool:
        """Whether it is a number that stands for none: nobody can ask for it, and what is saved has it."""
        return self.kind is float and type(value) in (int, float) and value == 0 == self.default and self.above == 0

    def options_of(self, name: str) -> tuple[str, ...]:
        """The command-line options of the setting called ``name``."""
        return self.options or (f"--{name.replace('_', '-')}",)

    @property
    def default_text(self) -> str:
        """For people; empty if the default is none."""
        if self.kind is bool:
            return self.options[not self.default].removeprefix("--")
        return "" if self.default in ("", {}, ()) or self.is_none(self.default) else str(self.default)

    def check(self, value: Any) -> Any:
        """``value`` as it is kept: where a number is meant, a whole one becomes it.

        :raises ValueError: expected and got, if it is of another type, beyond a limit, or none of the choices.
        """
        if self.kind is float and type(value) is int and abs(value) <= sys.float_info.max:
            value = float(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        elif self.kind is tuple and isinstance(value, list):
            value = tuple(value)
        right_type = isinstance(value, self.kind) and isinstance(value, bool) == (self.kind is bool)
        if not right_type or not self._allows(value):
            huge = right_type and self.kind in _BEYOND and abs(value) >= _BEYOND[self.kind]
            bound = f", and smaller than {_BEYOND[self.kind]:g}" if huge else ""
            message = f"expected {self.expected}{bound}, got {reprlib.repr(value)}"
            if right_type and self.parts is not None:
                raise UnknownPartError(message + self.parts.why_not(value))
            raise ValueError(message)
        return value

    def read(self, text: str) -> Any:
        """``check`` of what a text means.

        :raises ValueError: as ``check`` does.
        """
        value: Any = text
        with suppress(ValueError):
            value = self.kind(text)
        return self.check(value)

    def _allows(self, value: Any) -> bool:
        if self.kind is dict:
            return all(isinstance(key, str) and _is_option(entry) for key, entry in value.items())
        if self.kind is str:
            known = value == self.default or value in self.names or self._is_part(value)
            return known or (value != "" and not self.choices)
        if self.kind is tuple:
            ends = self.of_ends()
            return value == () or (len(value) == 2 and all(map(ends._is_number, value)) and value[0] < value[1])
        limits = ((holds, getattr(self, name)) for name, _, holds, _ in _LIMITS)
        small = abs(value) < _BEYOND.get(self.kind, math.inf)
        return small and all(holds(value, limit) for holds, limit in limits if limit is not None)

    def of_ends(self) -> Setting:
        """What each of the two numbers of a range has to be."""
        return replace(self, default=0.0)

    def _is_number(self, value: Any) -> bool:
        return isinstance(value, float) and self._allows(value)

    def _is_part(self, name: str) -> bool:
        return self.parts is not None and name in self.parts and issubclass(self.parts[name], self.base)

    def schema(self) -> dict[str, Any]:
        """As a property of a JSON schema."""
        limits = {key: getattr(self, name) for name, _, _, key in _LIMITS if getattr(self, name) is not None}
        described: dict[str, Any] = {"type": self.json_type, **limits}
        if self.choices:
            described["enum"] = sorted({*self.choices, self.default})
        elif self.kind is str and self.default:
            described["minLength"] = 1
        elif self.kind is tuple:
            described = {"type": "array", "items": {"type": "number", **limits}, "maxItems": 2}
        elif self.kind is dict:
            described["additionalProperties"] = {**_JSON_OPTION, "items": {"type": _JSON_OPTION["type"][:-1]}}
        if self.is_none(self.default):
            described = {"anyOf": [described, {"type": self.json_type, "enum": [self.default]}]}
        if self.several:
            described = {"anyOf": [described, {"type": "array", "items": described, "minItems": 1}]}
        return {"description": self.help, "default": self.default, **described}


def _is_option(value: Any) -> bool:
    """Whether ``value`` can be an option of a part: a text, a number, true or false, or a list of such."""
    if isinstance(value, list | tuple):
        return all(isinstance(entry, str | int | float) and _is_option(entry) for entry in value)
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def setting(default: Any, help: str, **declared: Any) -> Any:
    """A field of a dataclass that is a ``Setting``, which see for what can be declared."""
    metadata = {"setting": Setting(default, help, **declared)}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def schema_of(title: str, settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of an object with these settings, all of which have a default."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "properties": {name: declared.schema() for name, declared in settings.items()},
        "additionalProperties": False,
    }
