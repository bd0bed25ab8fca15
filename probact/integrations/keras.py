"""Stop ``model.fit`` of Keras 3 where another epoch is not worth its price.  Needs ``probact[keras]``."""

from __future__ import annotations

import warnings
from typing import Any

from probact.integrations.base import Watcher, missing
from probact.monitoring.monitor import HaltingMonitor
from probact.support.extras import needed

with needed():
    import keras


class HaltingCallback(keras.callbacks.Callback):
    """In place of ``EarlyStopping``: a look at the end of each epoch that was validated.

    The best weights are put back however ``fit`` comes to its end; after Ctrl-C or an error, on which Keras calls no
    callback, ``put_back_best()`` does so.  A second ``fit`` goes on where the first stood: make a new callback to begin
    anew.  ``state_dict`` and ``load_state_dict`` carry it to another process.

    :param price: what an epoch has to bring, in units of the metric.
    :param metric: its name in the logs.
    :param mode: "min", or "max" for what is the higher the better.
    :param check_finite: stop at the first value that is not finite; else such looks count as ones that brought nothing.
    :param restore_best: put the best weights back at the end.
    :param options: further settings of ``HaltingMonitor``, such as ``relative``, ``minimum_looks``, ``maximum_looks``.
    :raises ValueError: if one of these is not what it has to be; in ``fit`` if there is no such metric.
    """

    def __init__(
        self,
        price: float,
        metric: str = "val_loss",
        mode: str = "min",
        *,
        check_finite: bool = False,
        restore_best: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self.watcher: Watcher[list[Any]] = Watcher(price, metric, mode, check_finite=check_finite, **options)
        self.restore_best = restore_best

    @property
    def monitor(self) -> HaltingMonitor:
        """What follows the metric."""
        return self.watcher.monitor

    @property
    def stop_reason(self) -> str | None:
        """Why it stopped, in words; None before."""
        return self.watcher.stop_reason

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Look.

        :raises ValueError: if the epoch has no such metric, and there was validation.
        """
        logs, metric = logs or {}, self.watcher.metric
        if metric in logs:
            if self.watcher.look(logs[metric], self.model.get_weights if self.restore_best else list):
                self.model.stop_training = True
        elif not metric.startswith("val_") or any(name.startswith("val_") for name in logs):  # see validation_freq
            raise missing(metric, logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Put the best weights back; warns if no epoch was validated."""
        if not self.monitor.num_looks:
            warnings.warn(str(missing(self.watcher.metric, ())), stacklevel=2)
        if self.restore_best and self.watcher.best:
            self.put_back_best()

    def put_back_best(self) -> None:
        """The best weights so far into the model.

        :raises ValueError: if there are none.
        """
        best = self.watcher.to_put_back()
        self.model.set_weights(best)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return self.watcher.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        :raises ValueError: if it is of other settings.
        """
        self.watcher.load_state_dict(state)
