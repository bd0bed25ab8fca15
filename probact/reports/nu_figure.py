"""Which nu the losses of a run speak for, drawn."""

from __future__ import annotations

from matplotlib.figure import Figure

from probact.reports.how_long import HowLong
from probact.reports.style import EXACT, LEARNED, headed, log_scale, panels
from probact.support.words import counted


def evidence_curve(found: HowLong) -> Figure:
    """The evidence over 1 / (1 - nu), the mean halting step, with the best nu and the one of training."""
    figure, ((axes,),) = panels(1, 1, 4.2)
    steps = [1 / (1 - value) for value in found.nu]
    axes.plot(steps, found.evidence, color=EXACT)
    axes.axvline(1 / (1 - found.trained_nu), color=LEARNED, ls="--", label=f"trained with nu = {found.trained_nu:g}")
    if found.low == found.low:
        axes.axvspan(1 / (1 - found.low), 1 / (1 - found.high), color=EXACT, alpha=0.2, lw=0)
        axes.axvline(
            1 / (1 - found.best), color=EXACT, ls=":", label=f"best nu = {found.best:.4g}, with 95 % confidence"
        )
    top = max(found.evidence)
    axes.set(
        xlim=(1, 1.2 * steps[-1]),
        xlabel="mean halting step 1/(1 - nu) (steps)",
        ylabel="log p(x|nu), mean over problems (nats)",
    )
    room = 8 * max(found.gain, 0.05)
    axes.set_ylim(max(min(found.evidence), top - room) - 0.05 * room, top + 0.05 * room)
    log_scale(axes, "x")
    axes.legend(loc="lower right")
    return headed(
        figure, found.said, f"{counted(found.num_optimizees, 'held-out problem', form=',')}, H = {found.horizon}"
    )
