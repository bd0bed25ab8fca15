"""A black-box optimizer that is asked for points, told values, and says when another is not worth its price."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from probact.inference.posteriors.base import HaltingPosterior
from probact.inference.price import price_of
from probact.rules.base import RULES, UpdateRule
from probact.runs.trained import TrainedOptimizer
from probact.searching.box import Bounds, Box, Which
from probact.searching.course import Course
from probact.searching.history import History, Query, checked_value
from probact.searching.stop import OWN, SHARE, Asked, Terms, asked_for, reason, weighs_price
from probact.searching.told import Told, most_first, standard_of
from probact.stopping.base import StopRule, is_number
from probact.support.refusals import check_range, naming
from probact.support.sight import Sight
from probact.unrolling.progress import PRICE


class Best(NamedTuple):
    """The best query so far: its point in the user's units, and f there."""

    point: Any
    value: float


class BlackBoxOptimizer:
    """Looks for the minimum of a function that is known by its values alone, and says when to stop.

    >>> optimizer = BlackBoxOptimizer("gp-ei", bounds=[(-5.0, 5.0)], price=0.01)
    >>> while not optimizer.should_stop():
    ...     (x,) = optimizer.ask()
    ...     optimizer.tell((x - 2.0) ** 2)
    >>> round(optimizer.best.value, 1), optimizer.num_queries < 20
    (0.0, True)

    What it weighs is the best value at the stop + price x queries.  A query goes the way that training and judging go:
    ``ask`` is the rule's step, and ``tell`` shows its value to the rule, to the halting posterior and to the stop rule.

    **Price.**  Of a query, in units of f: what it has to bring.  Without it a query has to bring 1 % of the spread
    (the standard deviation) of the first values, up to 4 + 2 d of them, so that it does stop without a number of yours.
    **Units.**  Neither unit nor offset of f matters: with f and price times 1,000, or f plus 100, the same points are
    asked, and it stops at the same query.  A rule that does not see to this itself is shown values that are
    standardised by the first ones.  ``scale`` says centre and spread of f where they are known.
    **Failed queries.**  A value that is NaN or infinite counts as the worst so far, and as a query.
    **The stop** is advice: ``should_stop()`` stays true from then on, and ``ask`` goes on.

    :param rule: a search, or its name (``probact list``).
    :param bounds: (low, high) of each axis, in a list, or in a dict by name: so are points.
    :param posterior: a halting posterior trained with the rule; ``cost`` in nats is what that training charged a query.
    :param price: see above.
    :param log: axes on a log scale: True for all, names or places of some, or a truth value for each.
    :param integer: axes of whole numbers, ends included; said in the same way.
    :param maximize: look for the maximum.
    :param stop: a stop rule, ``NAME`` or ``NAME=THRESHOLD``, None for never, or "own": by the hazard of the posterior,
        or else, if the rule says what it expects of its next query, where that is no more than the price.
    :param scale: (centre, spread) of f, if known.
    :param minimum: at least so many queries before it stops.  Unless given 1, or 4 + 2 d where it stops by what the
        rule expects: before so many values that is in a unit that is hardly known, and often too small by far.
    :ivar num_failed: how many values were not finite.
    :raises ValueError: in one line, if something of this does not fit.
    """

    def __init__(
        self,
        rule: UpdateRule | str,
        bounds: Bounds,
        posterior: HaltingPosterior | None = None,
        *,
        price: float | None = None,
        log: Which = False,
        integer: Which = False,
        maximize: bool = False,
        stop: Asked = OWN,
        scale: tuple[float, float] | None = None,
        minimum: int | None = None,
        cost: float | None = None,
    ) -> None:
        rule = RULES.build(rule, {}) if isinstance(rule, str) else rule
        if not isinstance(rule, UpdateRule):
            raise ValueError(f"rule: expected a search such as 'gp-ei', got {type(rule).__name__}")
        if rule.sees is not Sight.VALUE:
            raise ValueError(
                f"expected a rule that sees {Sight.VALUE.value}, got {rule.label}: it sees {rule.sees.value}"
            )
        self.box, self.maximize = Box.of(bounds, log, integer), bool(maximize)
        if price is not None:
            if not is_number(price):
                raise ValueError(f"BlackBoxOptimizer: expected price > 0, got {price!r:.40}")
            check_range("BlackBoxOptimizer", above=0, below=math.inf, price=price)
        if scale is not None:
            check_range("BlackBoxOptimizer: scale", above=0, below=math.inf, spread=scale[1])
            check_range("BlackBoxOptimizer: scale", centre=float(scale[0]))
        self._given_price, self._scale = price, scale
        self.rule = copy.deepcopy(rule).double().requires_grad_(False)
        self.posterior = None if posterior is None else copy.deepcopy(posterior).double().requires_grad_(False)
        self._cost = cost or (PRICE if posterior is None else price_of(posterior.nu))
        self._history = History()
        self._stopped: str | None = None
        self.stop: StopRule | None = None
        self.stop = asked_for(stop, rule, posterior, self._try(), self._cost)
        if price is not None and not weighs_price(self.stop):
            raise ValueError(f"price: expected a stop that weighs it, got stop={stop!r:.60}")
        early = most_first(self.box.dim) if self.stop is not None and self.stop.needs_expectation else 1
        self.minimum = early if minimum is None else minimum
        check_range("BlackBoxOptimizer", at_least=1, minimum=self.minimum)
        self._terms = self._terms_now()
        self._course = self._begin(self._terms)

    @classmethod
    def from_pretrained(cls, source: str | Path, bounds: Bounds, *, stop: Asked = OWN, **options: Any) -> Self:
        """With rule, halting posterior and stop by the name of a shipped search, or from a file.

        :param source: that name (``probact list``), or a file that ``probact export RUN --out FILE`` wrote.
        :param stop: "own" is the tuned stop rule of the file, if it has one.
        :param options: of the class: ``price``, ``log``, ``integer``, ``maximize``, ``scale``, ``minimum``.
        :raises ValueError: as the class does, or if there is no such file.
        """
        trained = TrainedOptimizer.find(source)
        posterior = trained.online_posterior
        if isinstance(stop, str) and stop == OWN and trained.stop is not None:
            stop = trained.stop
        cost = price_of(trained.nu, trained.kl_scale)
        return cls(trained.rule, bounds, posterior, stop=stop, cost=cost, **options)

    def ask(self) -> Any:
        """The next point, in your units; the same one until it is told."""
        if self._history.pending is None:
            shares = self.box.within(self._course.propose())
            shares = self.box.fresh(shares, [query.place for query in self._history.queries])
            self._history = self._history._replace(pending=tuple(shares))
        return self.box.point(self._history.pending or ())

    def tell(self, value: Any, at: Any = None) -> None:
        """Take in f at the point that was asked.

        :param value: a number; NaN or infinite for a query that failed.
        :param at: the point, where f was worked out somewhere else than asked, or before anything was asked.
        :raises ValueError: if nothing was asked, or this is no number, or no point of the box.
        """
        y = checked_value(value)
        place = self._history.pending
        if at is not None:
            given = tuple(self.box.shares(at))
            place = given if place is None or self.box.point(place) != self.box.point(given) else place
        if place is None:
            told = "was told already" if self._history.queries else "was not asked for"
            raise ValueError(f"tell: expected a point by ask() before, or at=POINT, got a value of one that {told}")
        self._history = self._history.with_answer(Query(place, y))
        if (terms := self._terms_now()) == self._terms:
            self._show(self._history.queries[-1])
        else:
            self._terms, self._course = terms, self._begin(terms)
            for query in self._history.queries:
                self._show(query)
        self._decide()

    def waits_for(self, shares: Sequence[float]) -> None:
        """Take ``shares``, a place in [0,1]^d, for what was asked: it is told again what it, or another, asked once."""
        self._history = self._history._replace(pending=tuple(self.box.within(shares)))

    def should_stop(self) -> bool:
        """Whether another query is not worth its price, or else what ``stop`` says; true from then on."""
        return self._stopped is not None

    @property
    def stop_reason(self) -> str | None:
        """Why it stops, in words; None while it does not."""
        return self._stopped

    @property
    def num_queries(self) -> int:
        """How many values it was told."""
        return len(self._history.queries)

    @property
    def num_failed(self) -> int:
        """How many of them were not finite."""
        return self.num_queries - len(self._history.finite)

    @property
    def best(self) -> Best:
        """The query with the smallest value so far, or the largest with ``maximize``.

        :raises ValueError: before a finite value.
        """
        if not self._history.finite:
            raise ValueError("best: expected a finite value before, got none")
        query = (max if self.maximize else min)(self._history.finite, key=lambda query: query.value)
        return Best(self.box.point(query.place), query.value)

    @property
    def price(self) -> float | None:
        """Of a query, in units of f; None while none was given and no spread of the values is known."""
        return self._given_price or SHARE * self._standard()[1] or None

    @property
    def expected_gain(self) -> float | None:
        """What the next query is expected to take off the best value, in units of f.

        None of a rule that does not say, and before it can.
        """
        known = self._course.known
        if known is None or known.expected is None:
            return None
        gain = float(known.expected) * self._terms.price / self._cost * self._terms.unit
        return gain if math.isfinite(gain) else None

    @property
    def hazard(self) -> float | None:
        """q(t|x) / q(>= t|x) of the halting posterior at the last query; None without one, or before a query."""
        known = self._course.known
        return None if known is None or known.hazard is None else float(known.hazard)

    def state_dict(self) -> dict[str, Any]:
        """All queries with their values, and the point that waits: a dict of plain numbers, for json too."""
        return {"axes": [list(axis) for axis in self._axes()], "stopped": self._stopped, **self._history.to_json()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another of the same box, rule and price stood.

        :raises ValueError: if it is not of one; nothing is changed then.
        """
        if not isinstance(state, Mapping) or "axes" not in state:
            raise ValueError("expected the state of a BlackBoxOptimizer, got another's")
        if [tuple(axis) for axis in state["axes"]] != self._axes():
            raise ValueError(f"expected the state of an optimizer with axes {self._axes()}, got {state['axes']}")
        self._history = History.from_json(state)
        self._stopped = state["stopped"]
        self._terms = self._terms_now()
        self._course = self._begin(self._terms)
        for query in self._history.queries:
            self._show(query)

    def copy(self) -> Self:
        """Another that goes on from here by itself: to look ahead, or to ask for several points at once."""
        return copy.deepcopy(self)

    def _axes(self) -> list[tuple[Any, ...]]:
        return [(axis.name, axis.low, axis.high, axis.log, axis.integer) for axis in self.box.axes]

    @property
    def _sign(self) -> float:
        return -1.0 if self.maximize else 1.0

    def _standard(self) -> tuple[float, float]:
        """Centre and spread of the values as the search is to make them small; a spread of 0 is none."""
        if self._scale is not None:
            return self._sign * self._scale[0], self._scale[1]
        return standard_of([self._sign * query.value for query in self._history.finite], self.box.dim)

    def _terms_now(self) -> Terms:
        """Those that follow from the values so far."""
        if self.rule.is_unit_free and self._scale is None and self._given_price:
            return Terms(0.0, 1.0, self._given_price)
        centre, spread = self._standard()
        unit = spread or 1.0
        if self.rule.is_unit_free and self._scale is None:
            return Terms(0.0, 1.0, SHARE * unit)
        return Terms(centre, unit, self._given_price / unit if self._given_price and spread else SHARE)

    def _begin(self, terms: Terms) -> Course:
        return Course(self.rule, self.posterior, Told.of(self.box.dim, terms.price, self._cost), self.stop)

    def _show(self, query: Query) -> None:
        self._course.propose()
        self._course.take_in(self._terms(self._sign * query.value), query.place)

    def _decide(self) -> None:
        course, stop, num = self._course, self.stop, self.num_queries
        points = self.box.num_points
        if stop is not None and points and self.box.num_told(query.place for query in self._history.queries) == points:
            self._stopped = f"after {num} queries: all {points} points of the box are known"
        if stop is None or course.score is None or course.known is None or self._stopped or num < self.minimum:
            return
        values = {query.value for query in self._history.finite}
        if len(values) < 2:
            if num >= most_first(self.box.dim):
                self._stopped = (
                    f"after {num} queries: all values are the same" if values else f"no value of {num} is finite"
                )
        elif course.score >= stop.threshold:
            self._stopped = reason(stop, course.known, num, self.price or math.nan, self.expected_gain)

    def _try(self) -> bool:
        """One query of a course of its own; whether the rule says what it expects of the next.

        :raises ValueError: if the rule does not fit a box of so many axes.
        """
        with naming(self.rule.label):
            course = self._begin(Terms(0.0, 1.0, SHARE))
            course.take_in(0.0, self.box.within(course.propose()))
        assert course.known is not None
        return course.known.expected is not None
