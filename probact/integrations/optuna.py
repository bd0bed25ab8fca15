"""Stop an Optuna study where another trial is not worth its price.  Needs ``probact[optuna]``."""

from __future__ import annotations

import threading
from typing import Any

from probact.integrations.base import Watcher
from probact.monitoring.monitor import HaltingMonitor
from probact.support.extras import needed

with needed():
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, TrialState


class HaltingCallback:
    """``study.optimize(objective, callbacks=[HaltingCallback(price=...)])``.

    What counts is the best value so far and price x trials, the cost-adjusted simple regret: each trial that ends is a
    look at the best value up to it; one that failed or was pruned is paid for as well.  A study that is loaded from its
    storage, or run by several processes, is followed from its first trial on; the direction is the study's.

    :param price: what a trial has to bring, in units of the objective.
    :param minimum_looks: at least so many trials, 10 unless given, as those of the sampler's start are drawn at random.
    :param verbose: print why it stopped.
    :param options: further settings of ``HaltingMonitor``, such as ``relative``, ``maximum_looks``.
    :raises ValueError: if one of these is not what it has to be; in ``optimize`` if the study has several objectives.
    """

    def __init__(self, price: float, *, minimum_looks: int | None = None, verbose: bool = True, **options: Any) -> None:
        self.verbose = verbose
        if minimum_looks is None:
            most = options.get("maximum_looks")
            minimum_looks = min(10, most) if isinstance(most, int) and most > 0 else 10
        self._watchers: dict[str, Watcher[int]] = {
            mode: Watcher(price, "best value", mode, minimum_looks=minimum_looks, **options) for mode in ("min", "max")
        }
        self.watcher = self._watchers["min"]
        self._seen: set[int] = set()
        self._best: float | None = None
        self._lock = threading.Lock()

    @property
    def monitor(self) -> HaltingMonitor:
        """What follows the best value."""
        return self.watcher.monitor

    @property
    def stop_reason(self) -> str | None:
        """Why it stopped, in words; None before."""
        return self.watcher.stop_reason

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Take in the trials that have ended since."""
        if len(study.directions) > 1:
            raise ValueError(f"expected a study of one objective, got {len(study.directions)}")
        is_max = study.direction == StudyDirection.MAXIMIZE
        with self._lock:
            self.watcher = self._watchers["max" if is_max else "min"]
            ended = [each for each in study.get_trials(deepcopy=False) if each.state.is_finished()]
            for each in sorted(ended, key=lambda each: each.datetime_complete):
                if each.number not in self._seen and not self.stop_reason:
                    self._seen.add(each.number)
                    self._take_in(each, max if is_max else min)
            if self.stop_reason:
                study.stop()

    def _take_in(self, trial: FrozenTrial, better: Any) -> None:
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            self._best = trial.value if self._best is None else better(self._best, trial.value)
        if self._best is not None:
            self.watcher.look(self._best, lambda: trial.number, say=self.verbose)
