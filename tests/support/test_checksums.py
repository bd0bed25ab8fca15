from __future__ import annotations

import pytest

from probact.support.checksums import sealed, sealed_object, unsealed, unsealed_object


@pytest.mark.parametrize("data", [b"", b"a", b"\0" * 500, b"x\nsha256:y"])
def test_bytes(data: bytes) -> None:
    """Every flipped bit is seen, but for one in the mark, which leaves what version 0.1.0 wrote: bytes without one."""
    assert unsealed(sealed(data)) == unsealed(data) == data
    for bit in range(8 * len(sealed(data))):
        flipped = bytearray(sealed(data))
        flipped[bit // 8] ^= 1 << bit % 8
        in_mark = len(data) <= bit // 8 < len(data) + len(b"\nsha256:")
        if in_mark:
            assert unsealed(bytes(flipped)) == flipped
        else:
            with pytest.raises(ValueError, match="checksum"):
                unsealed(bytes(flipped))


def test_objects() -> None:
    content = {"loss": 0.1, "at": [1, None], "nested": {"a": float("inf")}}
    assert unsealed_object(sealed_object(content)) == unsealed_object(content) == content
    for other in ({**content, "loss": 0.2}, {**content, "more": 1}, {"loss": 0.1}):
        with pytest.raises(ValueError, match="checksum"):
            unsealed_object({**other, "sha256": sealed_object(content)["sha256"]})
