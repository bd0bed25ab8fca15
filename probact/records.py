"""What meta-training tells of itself."""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One meta-step.

    :ivar step: meta-steps done, from 1.
    :ivar loss: the objective on this batch, in nats.
    :ivar mean_halting: mean over the problems of E[t] under q(t|x), or None without a posterior.
    :ivar grad_norm: norm of the meta-gradient before clipping; inf or NaN means that the update was skipped.
    :ivar skipped: updates skipped so far.
    :ivar diverged: problems of this batch that diverged and were left out.
    :ivar validation: the objective on the validation set, where it was computed.
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


class Validation(NamedTuple):
    """The objective on the validation set; compared in this order, so that fewer diverged problems win first.

    :ivar diverged: problems that diverged and are left out of the mean.
    :ivar loss: the objective, in nats; inf if every problem diverged.
    :ivar mean_halting: mean E[t] under q(t|x), or None without a posterior.
    """

    diverged: int
    loss: float
    mean_halting: float | None


class Tally(NamedTuple):
    """What the objective found on some problems.

    :ivar loss: mean over those that did not diverge; NaN if all did.
    :ivar mean_halting: the same of E[t], or None without a posterior.
    :ivar unstarted: the diverged ones whose loss was not finite at theta_0 already.
    """

    loss: float
    mean_halting: float | None
    finite: int
    diverged: int
    unstarted: int
