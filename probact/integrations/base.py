"""What the callbacks of all libraries share: a metric by its name, a monitor that takes it in, a copy of the best."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from probact.monitoring.monitor import HaltingMonitor

Kept = TypeVar("Kept")


def missing(metric: str, names: Iterable[str]) -> ValueError:
    """That ``metric`` is not among ``names``, in one line."""
    return ValueError(
        f"no metric {metric!r} to look at: choose from {', '.join(sorted(names)) or 'none (no validation)'}"
    )


def read(found: Mapping[str, Any], metric: str) -> Any:
    """:raises ValueError: if ``found`` has no ``metric``."""
    if metric not in found:
        raise missing(metric, found)
    return found[metric]


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights and buffers, in the memory of the CPU."""
    return {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else value
        for name, value in module.state_dict().items()
    }


class Watcher(Generic[Kept]):
    """Takes in one value of a metric a look, keeps a copy of the best, and says once why training is to stop.

    :param price: what a look has to bring, in units of the metric (``HaltingMonitor``).
    :param metric: its name, for what is said.
    :param mode: "min", or "max" for what is the higher the better.
    :param check_finite: stop at the first value that is not finite.
    :param options: further settings of ``HaltingMonitor``.
    :ivar monitor: the ``HaltingMonitor``.
    :ivar best: the copy; None before a finite value.
    :raises ValueError: if one of these is not what it has to be.
    """

    def __init__(
        self, price: float, metric: str, mode: str = "min", *, check_finite: bool = False, **options: Any
    ) -> None:
        self.monitor = HaltingMonitor(price, mode=mode, **options)
        self.metric, self.check_finite = metric, check_finite
        self.best: Kept | None = None
        self._lost: str | None = None

    @property
    def stop_reason(self) -> str | None:
        """Why it stopped, in words; None before."""
        return self._lost or self.monitor.stop_reason

    def look(self, value: Any, keep: Callable[[], Kept], say: bool = True) -> bool:
        """Take ``value`` in; whether training is to stop.

        :param keep: makes the copy, where the value is a new best.
        :param say: print the summary when it stops; False on all ranks but one.
        """
        stopped = self.stop_reason is not None
        if self.monitor.update(value):
            self.best = keep()
        if self.check_finite and not math.isfinite(float(value)) and self._lost is None:
            self._lost = f"{self.metric} is {float(value)}"
        if self.stop_reason and not stopped and say:
            print(f"{self.metric}: {self.summary()}")
            self._doubt_mode()
        return self.stop_reason is not None

    def to_put_back(self) -> Kept:
        """The copy.

        :raises ValueError: if there is none.
        """
        if not self.best:
            kept = "restore_best=True" if self.monitor.best_look else f"a look with a finite {self.metric}"
            raise ValueError(f"put_back_best: expected {kept} before, got none")
        return self.best

    def summary(self) -> str:
        """Why, when, and what it expects to have missed, in words."""
        lost = f"stopped, as {self._lost}; " if self._lost else ""
        return lost + self.monitor.summary()

    def _doubt_mode(self) -> None:
        if self.monitor.best_look == 1 and self.monitor.num_looks >= 3 and not self._lost:
            mode, other = ("min", "max") if self.monitor.mode == "min" else ("max", "min")
            warnings.warn(
                f"{self.metric}: the first of {self.monitor.num_looks} looks is the best with mode={mode!r}; if that "
                f"is the wrong way round, say mode={other!r}",
                stacklevel=4,
            )

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, with the copy."""
        return {"monitor": self.monitor.state_dict(), "best": self.best, "lost": self._lost}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another of the same settings stood, bit for bit.

        :raises ValueError: if it is not of one; nothing is changed then.
        """
        if not isinstance(state, dict) or not {"monitor", "best", "lost"} <= state.keys():
            raise ValueError("expected the state of a callback of probact, got another's")
        self.monitor.load_state_dict(state["monitor"])
        self.best, self._lost = state["best"], state["lost"]
