"""Looks at a validation loss from inside the drop-in: the monitor that follows them, and the parameters of the best."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import torch

from probact.drop_in import groups
from probact.drop_in.loss import mean_over_ranks, read_loss
from probact.monitoring.monitor import HaltingMonitor
from probact.support.refusals import naming
from probact.support.trees import Params

EVERY = 10
"""Steps from one look to the next, unless said."""


MONITORS = "monitor"
"""What a refusal of its state begins with."""


class Options(groups.Options, total=False):
    """What ``LearnedOptimizer.from_pretrained`` hands on as it is."""

    total_steps: int | None
    validation: Callable[[], Any] | None
    price: float | None
    monitor: HaltingMonitor | None
    look_every: int | None
    freeze_when_stopped: bool
    patience_for_nan: int | None
    compile: bool
    memory_dtype: torch.dtype | None


def monitor_of(validation: Any, price: float | None, monitor: Any) -> HaltingMonitor | None:
    """The one given, or a new one at ``price``; None where there is no validation either.

    :raises ValueError: if one of them is not what it has to be, or they do not fit.
    """
    if validation is not None and not callable(validation):
        raise ValueError(f"validation: expected a callable that returns the loss, got {validation!r:.60}")
    if monitor is not None:
        if not isinstance(monitor, HaltingMonitor) or monitor.num is not None:
            raise ValueError(f"monitor: expected a HaltingMonitor of one curve, got {monitor!r:.60}")
        if price is not None:
            raise ValueError("price: expected either price= or monitor=, which has its own, got both")
        return monitor
    if validation is None and price is not None:
        raise ValueError("price: expected validation= or monitor= with it, got neither")
    if validation is not None and price is None:
        raise ValueError(
            "validation: expected price= (of a look, in units of the loss) or monitor= with it, got neither"
        )
    return None if price is None else HaltingMonitor(price)


def of_another(error: Exception) -> ValueError:
    """That a state is not one of such an optimizer; what its monitor says stands by itself."""
    said = str(error)
    return ValueError(
        said if said.startswith(f"{MONITORS}: ") else f"not the state of a LearnedOptimizer like this one ({said})"
    )


class Watch:
    """A monitor, who feeds it, and a copy of the parameters at its best look.

    :param monitor: None: nothing is looked at.
    :param validation: returns the validation loss at the current parameters; None: the user feeds the monitor.
    :param every: steps between two looks; None: ``EVERY``.
    :raises ValueError: if ``every`` is no whole number >= 1, or there is no validation for it.
    """

    def __init__(self, monitor: HaltingMonitor | None, validation: Callable[[], Any] | None, every: Any) -> None:
        if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            raise ValueError(f"look_every: expected a whole number >= 1 of steps, got {every!r:.60}")
        if every is not None and validation is None:
            raise ValueError("look_every: expected validation= with it, which it says when to call, got none")
        self.monitor, self.validation, self.every = monitor, validation, every or EVERY
        self._looked_at = -1
        self._kept_look = 0
        self._best: Params = {}

    def stopped(self) -> str | None:
        """That the monitor has, in words."""
        if self.monitor is None or not self.monitor.should_stop():
            return None
        return f"the monitor stopped at look {self.monitor.stopped_at} ({self.monitor.stop_reason})"

    def notice(self, params: Params) -> None:
        """Copy the parameters if the monitor's best look is one that it had not, when this was last called."""
        if self.monitor and self._kept_look != self.monitor.best_look:
            self._kept_look = self.monitor.best_look
            self._best = {name: param.detach().clone() for name, param in params.items()}

    def look(self, steps: int, params: Params) -> None:
        """Validate after ``steps`` steps if it is time to; nothing is looked at after the stop."""
        due = steps != self._looked_at and steps % self.every == 0
        if due and self.monitor and self.validation and not self.monitor.should_stop():
            self._looked_at = steps
            loss = read_loss(self.validation(), "validation")
            self.monitor.update(mean_over_ranks(loss, next(iter(params.values())).device))
        self.notice(params)

    @torch.no_grad()
    def put_back(self, params: Params) -> float:
        """The best parameters into ``params``, and their validation loss.

        :raises ValueError: if there are none, or they are of other shapes.
        """
        self.notice(params)
        if self.monitor is None:
            raise ValueError(
                "put_back_best: expected an optimizer that was given validation= and price=, or monitor=, got neither"
            )
        if not self._kept_look:
            raise ValueError("put_back_best: expected a look with a finite validation loss before, got none")
        for name, best in self._best.items():
            params[name].copy_(best)
        return float(self.monitor.best_loss)

    def to_state(self, params: Params) -> dict[str, Any] | None:
        """Of the same form before the first look as after it, as ``torch.distributed.checkpoint`` loads in place."""
        if self.monitor is None:
            return None
        self.notice(params)
        file = io.BytesIO()
        torch.save(self.monitor.state_dict(), file)
        best = [self._best.get(name, param).detach().clone() for name, param in params.items()]
        return {
            "monitor": file.getvalue(),
            "looked_at": self._looked_at,
            "kept_look": self._kept_look,
            "best": best,
        }

    def load(self, state: dict[str, Any] | None, params: Params) -> None:
        """What ``to_state`` gave; if that was None, it begins where it is.

        :raises ValueError: if the monitor is another; nothing is changed then.
        """
        if state is None:
            return
        if self.monitor is None:
            warnings.warn(
                "LearnedOptimizer: the monitor in the state, and the parameters of its best look, are left out, as "
                "this optimizer was given neither validation= nor monitor=",
                stacklevel=3,
            )
            return
        best = zip(params.items(), state["best"], strict=True) if state["kept_look"] else ()
        kept = {name: kept.detach().clone().to(param.device) for (name, param), kept in best}
        with naming(MONITORS):
            self.monitor.load_state_dict(torch.load(io.BytesIO(state["monitor"]), weights_only=True))
        self._looked_at, self._kept_look, self._best = state["looked_at"], state["kept_look"], kept
