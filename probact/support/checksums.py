"""A checksum that travels with what it is of, so that a flipped bit is noticed: behind bytes, and in JSON objects.

What carries none is taken as it is: version 0.1.0 wrote none.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

MARK = b"\nsha256:"
KEY = "sha256"


def sealed(data: bytes) -> bytes:
    """``data`` and its SHA-256 behind it, which readers of zip and HDF5 files pass over."""
    return data + MARK + sha256(data).hexdigest().encode()


def unsealed(data: bytes) -> bytes:
    """What ``sealed`` was given.

    :raises ValueError: if it is not what was sealed.
    """
    length = 2 * sha256().digest_size
    if data[:-length][-len(MARK) :] != MARK:
        return data
    content = data[: -length - len(MARK)]
    if sealed(content) != data:
        raise ValueError("its checksum is another one")
    return content


def sealed_object(content: dict[str, Any]) -> dict[str, Any]:
    """``content``, which JSON can hold, and its SHA-256 under the key ``sha256``."""
    return {**content, KEY: sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}


def unsealed_object(content: dict[str, Any]) -> dict[str, Any]:
    """What ``sealed_object`` was given.

    :raises ValueError: if it is not what was sealed.
    """
    bare = {key: value for key, value in content.items() if key != KEY}
    if KEY in content and sealed_object(bare) != content:
        raise ValueError("its checksum is another one")
    return bare
