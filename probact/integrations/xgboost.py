"""Stop XGBoost's rounds where another is not worth its price.  Needs ``probact[xgboost]``."""

from __future__ import annotations

from typing import Any

from probact.integrations.base import Watcher, missing
from probact.monitoring.monitor import HaltingMonitor
from probact.support.extras import needed

with needed():
    from xgboost import Booster
    from xgboost.callback import TrainingCallback


class HaltingCallback(TrainingCallback):
    """In place of ``xgboost.callback.EarlyStopping``, in ``train`` and the scikit-learn interface.

    However training ends, the model has the rounds up to the best one, and ``best_iteration`` is it.  Each training
    begins anew.

    :param price: what a round has to bring, in units of the metric.
    :param metric: such as "rmse"; None: the last, as in XGBoost.
    :param mode: "min", or "max" for what is the higher the better, such as "auc".
    :param data: name of the data set in ``evals``; None: the last.
    :param restore_best: take the rounds after the best one off.
    :param verbose: print why it stopped.
    :param options: further settings of ``HaltingMonitor``, such as ``relative``, ``minimum_looks``, ``maximum_looks``.
    :raises ValueError: if one of these is not what it has to be; in training if there is no such metric.
    """

    def __init__(
        self,
        price: float,
        metric: str | None = None,
        mode: str = "min",
        data: str | None = None,
        *,
        restore_best: bool = True,
        verbose: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self.price, self.metric, self.mode, self.data, self.options = price, metric, mode, data, options
        self.restore_best, self.verbose = restore_best, verbose
        self.watcher = self._watcher("metric")

    def _watcher(self, metric: str) -> Watcher[int]:
        return Watcher(self.price, metric, self.mode, **self.options)

    @property
    def monitor(self) -> HaltingMonitor:
        """What follows the metric."""
        return self.watcher.monitor

    @property
    def stop_reason(self) -> str | None:
        """Why it stopped, in words; None before."""
        return self.watcher.stop_reason

    def before_training(self, model: Any) -> Any:
        """Begin anew."""
        self.watcher = self._watcher("metric")
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Look; whether to stop."""
        names = {(data, metric): found for data, metrics in evals_log.items() for metric, found in metrics.items()}
        chosen = [key for key in names if self.data in (None, key[0]) and self.metric in (None, key[1])]
        if not chosen:
            asked = f"{self.data or 'validation'}-{self.metric or 'metric'}"
            raise missing(asked, ["-".join(key) for key in names])
        self.watcher.metric = "-".join(chosen[-1])
        value = names[chosen[-1]][-1]
        mean = value[0] if isinstance(value, tuple) else value  # of the folds of cv

        def keep() -> int:
            model.set_attr(best_iteration=str(epoch), best_score=str(mean))
            return epoch

        return self.watcher.look(mean, keep, say=self.verbose)

    def after_training(self, model: Any) -> Any:
        """Take the rounds after the best one off."""
        if self.watcher.best is None or not self.restore_best or not isinstance(model, Booster):
            return model
        best = model[: self.watcher.best + 1]
        best.set_attr(best_iteration=str(self.watcher.best), best_score=str(self.monitor.best_loss))
        return best
