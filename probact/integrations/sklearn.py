"""Stop scikit-learn's ``partial_fit``, or the rounds of its gradient boosting, where more are not worth their price."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from probact.integrations.base import Watcher
from probact.monitoring.monitor import HaltingMonitor

Estimator = TypeVar("Estimator")
Validation = Callable[[Any], float]
"""Of an estimator, its loss on data that it is not fitted on."""


def fit_until_stopped(
    estimator: Estimator,
    X: Any,
    y: Any,
    *,
    validation: Validation,
    price: float,
    maximum_looks: int = 1000,
    verbose: bool = True,
    fit_options: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Estimator, HaltingMonitor]:
    """Call ``estimator.partial_fit(X, y)`` again and again, with a look after each.

    :param estimator: of any kind that has ``partial_fit``; it is fitted in place.
    :param X, y: what ``partial_fit`` takes.
    :param validation: returns the loss of an estimator.
    :param price: what a look, with the ``partial_fit`` before it, has to bring, in units of that loss.
    :param verbose: print why it stopped.
    :param fit_options: of the first ``partial_fit``; of a classifier ``{"classes": ...}``.
    :param options: further settings of ``HaltingMonitor``, such as ``mode``, ``relative``, ``minimum_looks``.
    :returns: a copy of the best, and the monitor.
    :raises ValueError: if one of these is not what it has to be.
    """
    if not hasattr(estimator, "partial_fit"):
        raise ValueError(f"expected an estimator that has partial_fit, got {type(estimator).__name__}")
    _check(validation)
    watcher: Watcher[Estimator] = Watcher(price, "validation", maximum_looks=maximum_looks, **options)
    told, stops = fit_options or {}, False
    while not stops:
        estimator.partial_fit(X, y, **told)
        told = {}
        stops = watcher.look(validation(estimator), lambda: copy.deepcopy(estimator), say=verbose)
    return estimator if watcher.best is None else watcher.best, watcher.monitor


class HaltingRounds:
    """``GradientBoostingClassifier().fit(X, y, monitor=HaltingRounds(...))``, and the regressor likewise.

    ::

        rounds = HaltingRounds(lambda model: log_loss(y_valid, model.predict_proba(X_valid)), price=1e-3)
        model.fit(X, y, monitor=rounds)
        rounds.put_back_best(model)

    A look predicts by all trees so far.

    :param validation: returns the loss of an estimator.
    :param price: what a round has to bring, in units of that loss.
    :param verbose: print why it stopped.
    :param options: further settings of ``HaltingMonitor``, such as ``mode``, ``relative``, ``minimum_looks``.
    :raises ValueError: if one of these is not what it has to be.
    """

    def __init__(self, validation: Validation, price: float, *, verbose: bool = True, **options: Any) -> None:
        _check(validation)
        self.watcher: Watcher[int] = Watcher(price, "validation", **options)
        self.validation, self.verbose = validation, verbose

    @property
    def monitor(self) -> HaltingMonitor:
        """What follows the loss."""
        return self.watcher.monitor

    def __call__(self, place: int, estimator: Any, _: dict[str, Any]) -> bool:
        """As scikit-learn calls it, after round ``place``; whether to stop."""
        return self.watcher.look(
            self.validation(_cut(copy.copy(estimator), place + 1)), lambda: place + 1, self.verbose
        )

    def put_back_best(self, estimator: Any) -> None:
        """Take the rounds after the best one off the ``estimator`` that was fitted with this.

        :raises ValueError: if there are none, as no loss was finite or it was not fitted so.
        """
        best = self.watcher.to_put_back()
        if getattr(estimator, "n_estimators_", 0) < best:
            raise ValueError("put_back_best: expected the estimator that was fitted with this monitor=, got another")
        _cut(estimator, best)


def _check(validation: Any) -> None:
    if not callable(validation):
        raise ValueError(
            f"validation: expected a callable that returns the loss of an estimator, got {validation!r:.60}"
        )


def _cut(estimator: Any, rounds: int) -> Any:
    estimator.estimators_ = estimator.estimators_[:rounds]
    estimator.n_estimators_ = rounds
    return estimator
