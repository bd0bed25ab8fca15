"""What is recorded of each meta-step: the one home of the names of metrics."""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One meta-step.

    :ivar step: meta-steps done, from 1.
    :ivar loss: the objective on this batch, in nats.
    :ivar mean_halting: mean over the problems of E[t] under q(t|x), or None without a posterior.
    :ivar grad_norm: norm of the meta-gradient before clipping; NaN means that an update was skipped.
    :ivar skipped: updates skipped so far, of ``updates``.
    :ivar diverged: problems of this batch that diverged and were left out; ``left_out``: of all batches so far.
    :ivar validation: the objective on the validation set, where it was computed; so are the five after it.
    :ivar evidence, bound: log p(x) and the ELBO at KL scale 1, means over the validation problems, in nats.
    :ivar amortisation_gap, horizon_gap: their difference, in its two parts (``inference.exact``).
    """

    step: int
    loss: float
    mean_halting: float | None
    grad_norm: float
    lr: float
    anneal: float
    skipped: int
    diverged: int
    seconds: float
    validation: float | None = None
    validation_halting: float | None = None
    updates: int = 0
    left_out: int = 0
    evidence: float | None = None
    bound: float | None = None
    amortisation_gap: float | None = None
    horizon_gap: float | None = None


NEEDED = [name for name in Record._fields if name not in Record._field_defaults]
"""What every line of the metrics has."""
