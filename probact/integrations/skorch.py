"""Stop a skorch net where another epoch is not worth its price.  Needs ``probact[skorch]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from probact.integrations.base import Watcher, missing, weights_of
from probact.monitoring.monitor import HaltingMonitor
from probact.support.extras import needed

with needed():
    from skorch.callbacks import Callback


class HaltingCallback(Callback):
    """In place of ``EarlyStopping``: a look at the end of each epoch.

    The best weights are put back however training ends, by Ctrl-C too.  ``partial_fit`` goes on where it stood,
    ``fit`` begins anew.

    :param price: what an epoch has to bring, in units of the metric.
    :param metric: its name in the history.
    :param mode: "min", or "max" for what is the higher the better.
    :param check_finite: stop at the first value that is not finite; else such looks count as ones that brought nothing.
    :param restore_best: put the best weights back at the end.
    :param relative, minimum_looks, maximum_looks, name: as of ``HaltingMonitor``.
    :raises ValueError: in ``fit``, if one of these is not what it has to be or there is no such metric.
    """

    watcher_: Watcher[dict[str, Tensor]]

    def __init__(
        self,
        price: float,
        metric: str = "valid_loss",
        mode: str = "min",
        check_finite: bool = False,
        restore_best: bool = True,
        relative: bool = False,
        minimum_looks: int | None = None,
        maximum_looks: int | None = None,
        name: str | Path = "curves",
    ) -> None:
        self.price, self.metric, self.mode, self.check_finite = price, metric, mode, check_finite
        self.restore_best, self.relative, self.name = restore_best, relative, name
        self.minimum_looks, self.maximum_looks = minimum_looks, maximum_looks

    def initialize(self) -> HaltingCallback:
        """Begin anew; skorch calls it in ``fit``."""
        self.watcher_ = Watcher(
            self.price,
            self.metric,
            self.mode,
            check_finite=self.check_finite,
            relative=self.relative,
            minimum_looks=self.minimum_looks,
            maximum_looks=self.maximum_looks,
            name=self.name,
        )
        return self

    @property
    def monitor_(self) -> HaltingMonitor:
        """What follows the metric."""
        return self.watcher_.monitor

    @property
    def stop_reason_(self) -> str | None:
        """Why it stopped, in words; None before."""
        return self.watcher_.stop_reason

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Look.

        :raises KeyboardInterrupt: where it stops, as skorch has it.
        """
        row = net.history[-1]
        if self.metric not in row:
            raise missing(self.metric, [name for name, value in row.items() if isinstance(value, float)])
        module, restore = net.module_, self.restore_best
        if self.watcher_.look(row[self.metric], lambda: weights_of(module) if restore else {}, say=bool(net.verbose)):
            raise KeyboardInterrupt

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Put the best weights back."""
        if self.restore_best and self.watcher_.best:
            net.module_.load_state_dict(self.watcher_.best)
