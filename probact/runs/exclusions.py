"""Which settings of an ``Experiment`` exclude each other, or need another beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probact.inference.posteriors.base import NO_HALTING
from probact.unrolling.compilation import SEGMENT

if TYPE_CHECKING:
    from probact.runs.experiment import Experiment


def check_together(of: Experiment) -> None:
    """:raises ValueError: on values that are allowed each, but not together."""
    chosen = [name for name in ("by_segment", "recompute", "compiled") if getattr(of, name)]
    if len(chosen) > 1:
        raise ValueError(f"expected by-segment, recompute or compiled, got {' and '.join(chosen)}")
    if of.gradient == "pes" and (of.by_segment or of.imitate):
        raise ValueError(f"expected gradient pes or {'by-segment' if of.by_segment else 'imitate'}, got both")
    if of.compiled and of.truncate % SEGMENT:
        raise ValueError(f"compiled: expected truncate to be a multiple of {SEGMENT}, got {of.truncate}")
    if of.safeguard and of.compiled:
        raise ValueError("expected safeguard or compiled, got both: what the safeguard does depends on the losses")
    if of.recall and not of.looks:
        raise ValueError("recall: expected looks beside it, of which the best is returned")
    if of.looks and of.by_segment:
        raise ValueError("expected looks or by-segment, got both: a segment does not know the looks before it")
    if of.prior_nu_range and not of.looks:
        raise ValueError("prior-nu-range: expected looks beside it, which show losses in prices of a step")
    if of.prior_nu_range and not of.prior_nu_range[0] <= of.prior_nu <= of.prior_nu_range[1]:
        ends = " to ".join(f"{nu:g}" for nu in of.prior_nu_range)
        raise ValueError(f"prior-nu: expected one in prior-nu-range, {ends}, got {of.prior_nu:g}")
    if of.looks and of.halting == NO_HALTING:
        raise ValueError("looks: expected a halting posterior that sees them, got none")
    if of.horizon_from > of.horizon:
        raise ValueError(f"horizon-from: expected at most the horizon, {of.horizon}, got {of.horizon_from}")
    if of.horizon_from and of.curriculum:
        raise ValueError("expected horizon-from or curriculum, got both")
    if of.freeze_rule and not of.begin_with:
        raise ValueError("freeze-rule: expected begin-with, the trained rule to keep, got none")
    if of.nu_warmup and of.prior_nu_range:
        raise ValueError("expected nu-warmup or prior-nu-range, got both")
    if of.nu_warmup > of.meta_steps:
        raise ValueError(f"nu-warmup: expected at most the meta-steps, {of.meta_steps}, got {of.nu_warmup}")
    for name in ("nu_warmup", "head_units"):
        if getattr(of, name) != getattr(type(of), name) and of.halting == NO_HALTING:
            raise ValueError(f"{name.replace('_', '-')}: expected a halting posterior, got none")
