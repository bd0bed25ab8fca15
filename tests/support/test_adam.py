"""Adam's step of torch is what its formula says."""

from __future__ import annotations

import pytest
import torch

from probact.support.adam import adam_, has_adam


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_it_is_the_formula(decay: float, double: None) -> None:
    into, new, mean, square = (torch.randn(3, 70) for _ in range(4))
    square = square.square()
    if not has_adam(into):
        pytest.skip("this torch has none")
    expected_mean = decay * mean + (1 - decay) * new
    expected_square = 0.99 * square + 0.01 * new**2
    expected = into - 0.3 * expected_mean / (expected_square.sqrt() + 1e-15)
    adam_(into, new, mean, square, decay, 0.99, -0.3, 1e-15)
    torch.testing.assert_close((into, mean, square), (expected, expected_mean, expected_square), rtol=1e-9, atol=1e-11)


def test_what_has_none_is_known() -> None:
    assert not has_adam(torch.zeros(1, dtype=torch.bfloat16))
    assert not has_adam(torch.zeros(1, device="meta"))
