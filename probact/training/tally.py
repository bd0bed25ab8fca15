"""What the objective found on some problems, and on the validation set."""

from __future__ import annotations

from typing import NamedTuple


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
