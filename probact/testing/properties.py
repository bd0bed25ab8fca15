"""How a property is stated: where it fails, one line names part and property, what was expected and what was got."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from probact.inference.posteriors.base import HaltingDistribution
from probact.problems.base import Optimizee
from probact.support.registry import Registry
from probact.unrolling.rollout import Rollout


@contextmanager
def holds(part: str, what: str) -> Iterator[None]:
    """Within, whatever goes wrong means that ``part`` lacks the property ``what``."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        raise AssertionError(f"{part}: {what}: {kind}{' '.join(str(error).split())}") from error


def equal(got: Any, expected: Any) -> None:
    """``got`` is ``expected``."""
    if got != expected:
        raise AssertionError(f"expected {expected}, got {got}")


def close(got: Tensor, expected: Tensor, rtol: float | None = None, atol: float | None = None) -> None:
    """``got`` is ``expected`` up to rounding, by default as ``torch.testing.assert_close`` has it."""
    equal((got.dtype, tuple(got.shape)), (expected.dtype, tuple(expected.shape)))

    def where(_: str) -> str:
        worst = int((got - expected).abs().nan_to_num(torch.inf).argmax())
        return f"expected {expected.flatten()[worst]:.8g}, got {got.flatten()[worst]:.8g}, entry {worst}"

    torch.testing.assert_close(got, expected, rtol=rtol, atol=atol, msg=where)


def finite(got: Tensor, shape: tuple[int, ...]) -> None:
    """``got`` has that shape, the default type, and no inf or NaN."""
    equal((tuple(got.shape), got.dtype), (shape, torch.get_default_dtype()))
    equal(f"{int((~got.isfinite()).sum())} entries that are not finite", "0 entries that are not finite")


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Within, new tensors are of ``dtype`` and random numbers start from one seed; afterwards all is as before."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_default_dtype(before)


def label(registry: Registry[Any], kind: type) -> str:
    """The part's kind and name, for messages.

    :raises AssertionError: if it is not registered, or has no docstring for ``list`` to show.
    :raises TypeError: if it is no class.
    """
    if not isinstance(kind, type):
        raise TypeError(f"expected the class of a {registry.kind}, got {type(kind).__name__} {kind!r}")
    name = getattr(kind, "name", "")
    with holds(f"{registry.kind} {kind.__name__}", "is registered"):
        equal(name in registry and registry[name], kind)
    with holds(part := f"{registry.kind} {name!r}", "has a docstring, whose first line `list` shows"):
        equal(bool(kind.__doc__), True)
    return part


def assert_causal(distribution: Callable[[Tensor], HaltingDistribution], features: Tensor) -> None:
    """Changing row s + 1 of ``features`` and those after it changes no row T <= s of the table."""
    before = distribution(features).log_prob().exp()
    for s in range(1, len(features)):
        changed = features.clone()
        changed[s:] += torch.randn_like(changed[s:])
        close(distribution(changed).log_prob().exp()[:s], before[:s], rtol=0, atol=0)


def assert_no_leak(run: Callable[[Optimizee], Rollout], optimizee: Optimizee) -> None:
    """Each problem's path is the same alone as among others."""
    together = run(optimizee)
    for index in range(optimizee.num):
        alone = run(optimizee.select(torch.tensor([index])))
        close(alone.nll[:, 0], together.nll[:, index])
        close(alone.features[:, 0], together.features[:, index])
