"""What a computation found: frozen dataclasses that are written as JSON and read back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from probact.support.checksums import sealed_object, unsealed_object
from probact.support.files import finite_numbers


@dataclass(frozen=True)
class Result:
    """Base of all results; ``found["loss"]`` is ``found.loss``.

    Fields are strings, numbers, results, and tuples and dicts of these.  A float that is not known is NaN.
    """

    FORMAT: ClassVar[int] = 1

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def to_json(self, indent: int | None = None) -> str:
        """All fields, the number of the format and a checksum; NaN and infinities become null."""
        return json.dumps(sealed_object(finite_numbers({"format": self.FORMAT, **asdict(self)})), indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What ``to_json`` wrote, also before it wrote a format; null is read as NaN where a float is expected.

        :raises ValueError: if it is something else, or of another format.
        """
        try:
            content = unsealed_object(json.loads(text))
            number = content.pop("format", None)
            if number not in (None, cls.FORMAT):
                raise ValueError(f"got format {number!r}")
            found: Self = _read(cls, cls.upgraded(content) if number is None else content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected {cls.__name__} of format {cls.FORMAT} as JSON ({error})") from None
        return found

    @classmethod
    def upgraded(cls, content: dict[str, Any]) -> dict[str, Any]:
        """What was written without a format number, as it is written today."""
        return content


def _read(kind: Any, value: Any) -> Any:
    """``value`` as JSON has it, as the type ``kind``."""
    if isinstance(kind, type) and issubclass(kind, Result):
        kinds = get_type_hints(kind)
        names = [field.name for field in fields(kind) if field.name in value]
        return kind(**{name: _read(kinds[name], value[name]) for name in names})
    if get_origin(kind) is tuple:
        return tuple(_read(get_args(kind)[0], item) for item in value)
    if get_origin(kind) is dict:
        return {key: _read(get_args(kind)[1], item) for key, item in value.items()}
    return math.nan if kind is float and value is None else value
