"""Stop LightGBM's rounds where another is not worth its price.  Needs ``probact[lightgbm]``."""

from __future__ import annotations

from typing import Any

from probact.integrations.base import Watcher, missing
from probact.monitoring.monitor import HaltingMonitor
from probact.support.extras import needed

with needed():
    from lightgbm.callback import CallbackEnv, EarlyStopException


class HaltingCallback:
    """In place of ``lightgbm.early_stopping``, in ``train``, ``cv`` and the scikit-learn interface.

    The model's ``best_iteration`` is the best round however training ends, and prediction uses it.  The direction of
    the metric is LightGBM's.  Each training begins anew.

    :param price: what a round has to bring, in units of the metric.
    :param metric: such as "l2"; None: the first.
    :param data: name of the data set; None: the first that is not the training data.
    :param verbose: print why it stopped.
    :param options: further settings of ``HaltingMonitor``, such as ``relative``, ``minimum_looks``, ``maximum_looks``.
    :raises ValueError: if one of these is not what it has to be; in training if there is no such metric, or for dart.
    """

    order = 30
    before_iteration = False

    def __init__(
        self, price: float, metric: str | None = None, data: str | None = None, *, verbose: bool = True, **options: Any
    ) -> None:
        self.price, self.metric, self.data, self.verbose, self.options = price, metric, data, verbose, options
        self.watcher = self._watcher("metric", "min")

    def _watcher(self, metric: str, mode: str) -> Watcher[tuple[int, list[Any]]]:
        return Watcher(self.price, metric, mode, **self.options)

    @property
    def monitor(self) -> HaltingMonitor:
        """What follows the metric."""
        return self.watcher.monitor

    @property
    def stop_reason(self) -> str | None:
        """Why it stopped, in words; None before."""
        return self.watcher.stop_reason

    def __call__(self, env: CallbackEnv) -> None:
        """As LightGBM calls it after each round.

        :raises EarlyStopException: where it stops, and at the last round.
        """
        results = list(env.evaluation_result_list or [])
        name, metric, value, is_max = self._chosen(env, results)[:4]
        if env.iteration == env.begin_iteration:
            if "dart" in map(env.params.get, ("boosting", "boosting_type", "boost")):
                raise ValueError("expected boosting other than dart, whose later rounds change the trees before")
            self.watcher = self._watcher(f"{name}'s {metric}", "max" if is_max else "min")
        stops = self.watcher.look(value, lambda: (env.iteration, results), say=self.verbose)
        if stops or env.iteration == env.end_iteration - 1:
            raise EarlyStopException(*(self.watcher.best or (env.iteration, results)))

    def _chosen(self, env: CallbackEnv, results: list[Any]) -> Any:
        train = {"train", "training", getattr(env.model, "_train_data_name", None)}
        for result in results:
            name, metric = result[:2]
            wanted = name not in train if self.data is None else name == self.data
            if wanted and self.metric in (None, metric):
                return result
        asked = f"{self.data or 'validation'}'s {self.metric or 'metric'}"
        raise missing(asked, [f"{name}'s {metric}" for name, metric, *_ in results])
