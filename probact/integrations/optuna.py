"""Stop an Optuna study where no trial is worth its price, or sample by a search.  Needs ``probact[optuna]``."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from probact.integrations.base import Watcher
from probact.monitoring.monitor import HaltingMonitor
from probact.rules.base import RULES, UpdateRule
from probact.searching.optimizer import BlackBoxOptimizer
from probact.support.extras import needed

with needed():
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.search_space import IntersectionSearchSpace
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, TrialState

Source = str | Path | UpdateRule
"""A search, its name, the name of a shipped one, or a file."""
Space = Mapping[str, BaseDistribution]
PLACE = "probact:place"
"""Attribute of a trial in the storage: where in [0,1]^d the search asked, of a whole number where in its cell."""


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


class BlackBoxSampler(BaseSampler):
    """``create_study(sampler=BlackBoxSampler("gp-ei"))``: trials are what a search asks for.

    It is for parameters that are numbers; a categorical one is an error.  The study itself is the memory: one that is
    loaded from its storage goes on as if it had not been left, as each trial has the place that was asked, ``PLACE``.
    While other trials run they count as failed there, so that it asks elsewhere.
    The first trial is in the middle of all ranges, unless ``search_space`` says what there is to ask for.

    :param source: a search, its name (``probact list``), the name of a shipped one, or a file of ``probact export``.
    :param search_space: name -> distribution, if known before the first trial.
    :param seed: of parameters that only some trials have: they are drawn at random.
    :param options: of ``BlackBoxOptimizer``, such as ``price``; the study says ``log``, ``integer`` and ``maximize``.
    """

    def __init__(
        self, source: Source = "gp-ei", search_space: Space | None = None, seed: int | None = None, **options: Any
    ) -> None:
        self.source, self.options = source, options
        self._given = None if search_space is None else _checked(search_space)
        self._intersection = IntersectionSearchSpace()
        self._random = RandomSampler(seed)
        self._followed = _Followed(source, options)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What is given, or else what all trials so far have in common."""
        space = self._intersection.calculate(study) if self._given is None else self._given
        return {name: each for name, each in _checked(space).items() if not each.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The search's next point."""
        if not search_space:
            return {}
        optimizer = self._followed.up_to_now(study, search_space)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        others = [
            each.params for each in running if each.number != trial.number and search_space.keys() <= each.params.keys()
        ]
        if others:
            optimizer = optimizer.copy()
            for params in others:
                optimizer.tell(math.nan, at=_told(search_space, params))
        point: dict[str, Any] = optimizer.ask()
        study._storage.set_trial_system_attr(trial._trial_id, PLACE, optimizer.state_dict()["pending"])
        return {name: _Axis.of(search_space[name]).suggested(value) for name, value in point.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Before the first trial has ended the middle; later, for what only some trials have, at random."""
        _checked({param_name: param_distribution})
        if any(each.state.is_finished() for each in study.get_trials(deepcopy=False)) or trial.number:
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        optimizer = _made("gp-ei", {param_name: param_distribution}, False, {"stop": None})
        return _Axis.of(param_distribution).suggested(optimizer.box.point([0.5])[param_name])


class HaltingSearch:
    """What ``stop_when`` returns: ``stop_reason`` says why the study stopped, None before."""

    def __init__(self, source: Source | None, options: dict[str, Any], verbose: bool) -> None:
        self._source, self._options, self.verbose = source, options, verbose
        self._followed: _Followed | None = None
        self._intersection = IntersectionSearchSpace()
        self._lock = threading.Lock()
        self.stop_reason: str | None = None

    @property
    def optimizer(self) -> BlackBoxOptimizer | None:
        """What follows the study; None before its first trial has ended."""
        return None if self._followed is None else self._followed.optimizer

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Take in the trials that have ended since."""
        with self._lock:
            space = {
                name: each for name, each in _checked(self._intersection.calculate(study)).items() if not each.single()
            }
            if not space or self.stop_reason:
                return
            if self._followed is None:
                sampler = study.sampler
                like = sampler if isinstance(sampler, BlackBoxSampler) and self._source is None else None
                own = {} if like is None else like.options
                self._followed = _Followed(like.source if like else self._source or "gp-ei", {**own, **self._options})
            self.stop_reason = self._followed.up_to_now(study, space).stop_reason
            if self.stop_reason:
                study.stop()
                if self.verbose:
                    print(f"stopped {self.stop_reason}")


def stop_when(
    price: float | None = None, source: Source | None = None, *, verbose: bool = True, **options: Any
) -> HaltingSearch:
    """``study.optimize(objective, callbacks=[stop_when(price=...)])``: stop where no trial is worth its price.

    Whatever the study's sampler, a search is told its trials, and stops it where it would stop itself: where the
    improvement that it expects of its own next trial is no more than the price, or by its halting posterior.

    :param price: what a trial has to bring, in units of the objective; without it 1 % of the spread of first values.
    :param source: as of ``BlackBoxSampler``; unless given the sampler's own, or "gp-ei".
    :param options: of ``BlackBoxOptimizer``.
    """
    return HaltingSearch(source, options if price is None else {**options, "price": price}, verbose)


class _Axis(NamedTuple):
    """A distribution as an axis: one with a step by the number of the step."""

    low: float
    high: float
    log: bool
    integer: bool
    step: float | None
    offset: float

    @classmethod
    def of(cls, each: BaseDistribution) -> _Axis:
        assert isinstance(each, FloatDistribution | IntDistribution)
        integer = isinstance(each, IntDistribution)
        step = each.step if not integer or each.step > 1 else None
        if step is None:
            return cls(each.low, each.high, each.log, integer, None, 0)
        return cls(0, round((each.high - each.low) / step), False, True, step, each.low)

    def suggested(self, value: float) -> float:
        """As Optuna has it."""
        return value if self.step is None else self.offset + value * self.step

    def told(self, value: float) -> float:
        """As the search has it."""
        return value if self.step is None else round((value - self.offset) / self.step)


def _told(space: Space, params: Mapping[str, Any]) -> dict[str, float]:
    return {name: _Axis.of(each).told(params[name]) for name, each in space.items()}


def _checked(space: Space) -> dict[str, BaseDistribution]:
    for name, each in space.items():
        if not isinstance(each, FloatDistribution | IntDistribution):
            raise ValueError(f"expected parameters that are numbers, got {name!r}, which is categorical")
    return dict(sorted(space.items()))


def _made(source: Source, space: Space, maximize: bool, options: dict[str, Any]) -> BlackBoxOptimizer:
    axes = {name: _Axis.of(each) for name, each in space.items()}
    bounds = {name: (axis.low, axis.high) for name, axis in axes.items()}
    logs, integers = ([name for name, axis in axes.items() if axis[place]] for place in (2, 3))
    settings: dict[str, Any] = {**options, "log": logs, "integer": integers, "maximize": maximize}
    if isinstance(source, UpdateRule) or source in RULES:
        return BlackBoxOptimizer(source if isinstance(source, UpdateRule) else str(source), bounds, **settings)
    return BlackBoxOptimizer.from_pretrained(source, bounds, **settings)


class _Followed:
    """A study as a search is told it."""

    def __init__(self, source: Source, options: dict[str, Any]) -> None:
        self.source, self.options = source, options
        self.optimizer: BlackBoxOptimizer | None = None
        self._space: dict[str, BaseDistribution] = {}
        self._seen: set[int] = set()
        self._lock = threading.Lock()

    def up_to_now(self, study: Study, space: Space) -> BlackBoxOptimizer:
        """The search with all trials that have ended, in the order of their ends.

        :raises ValueError: if the study has several objectives.
        """
        if len(study.directions) > 1:
            raise ValueError(f"expected a study of one objective, got {len(study.directions)}")
        with self._lock:
            if self.optimizer is None or self._space != dict(space):
                maximize = study.direction == StudyDirection.MAXIMIZE
                self.optimizer = _made(self.source, space, maximize, self.options)
                self._space, self._seen = dict(space), set()
            ended = [each for each in study.get_trials(deepcopy=False) if each.state.is_finished()]
            for each in sorted(ended, key=lambda each: (each.datetime_complete, each.number)):
                if each.number not in self._seen and all(
                    name in each.params and one._contains(one.to_internal_repr(each.params[name]))
                    for name, one in space.items()
                ):
                    self._seen.add(each.number)
                    if (place := each.system_attrs.get(PLACE)) and len(place) == self.optimizer.box.dim:
                        self.optimizer.waits_for(place)
                    value = each.value if each.state == TrialState.COMPLETE else None
                    self.optimizer.tell(math.nan if value is None else value, at=_told(space, each.params))
            return self.optimizer
