"""When to stop a training loop: a monitor that is told the validation loss, and what a look is worth."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from probact.monitoring.decision import Decision, like
from probact.monitoring.head import AHEAD, CurveHead, Expected, OnlineHead, unsquashed
from probact.monitoring.reading import SMALLEST, count, errors, losses, number
from probact.monitoring.signals import Array, CurveMemory, features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Value = Any
"""A number; with ``num`` an array ``(num,)``."""


class Gain(NamedTuple):
    """What going on is expected to bring until the monitor would stop, less the price of its looks.

    In units of the loss; each a float, or ``(num,)``.  It knows of no floor: of a loss that cannot fall below 0
    ``high`` may be more than there is.

    :ivar low, median, high: as likely below ``low`` as above ``high``: 1 in 10.
    """

    low: Value
    median: Value
    high: Value


class HaltingMonitor:
    """Says when another look is not worth its price, from the validation losses so far.

    A look is one ``update``: an evaluation after a stretch of training, as long as you like but always alike.  The
    monitor follows a halting posterior q(t|x), trained on recorded training curves: it has seen how curves go on that
    look like yours.  It expects that you keep the best look (``update`` says which), as stopping returns that one.
    Multiplying losses and price by one number changes no decision.

    >>> monitor = HaltingMonitor(price=1e-3)
    >>> for loss in (0.9, 0.5, 0.4, 0.36, 0.35):
    ...     is_best = monitor.update(loss)
    >>> monitor.best_look, monitor.best_loss, monitor.should_stop()
    (5, 0.35, False)

    With m the look at which (best loss so far + price times looks) was lowest, it goes on for 3 m + 100 looks at most,
    whatever the posterior says, so that what it never saw costs a known multiple of what paid.

    A loss that is not finite (NaN, inf, beyond 1e100) is a look that brought nothing; after ``NOT_FINITE`` of them in a
    row the monitor stops.  A curve begins at its first finite loss.
    The stop is advice and stays: a loop that goes on is warned once, and what it still finds counts for the best.

    :param price: what one more look has to bring, > 0, in units of the loss that it is fed: .001 says that a look has
        to be worth a fall of .001.
    :param relative: ``price`` is a share of the first finite loss other than 0 (of its absolute value) instead.
    :param minimum_looks: it does not stop before, whatever happens; 2 unless given.
    :param maximum_looks: it stops there in any case; None: nowhere.
    :param mode: "min", or "max" for what is the higher the better.
    :param noise: standard error of a look, if it is known; ``update`` may say another.
    :param samples: how many points a look is a mean over, if it is known.
    :param num: so many curves at once, each stopping by itself; losses and answers are arrays ``(num,)`` then.
    :param name: a shipped head, or the file of one (``probact curves fit``).
    :raises ValueError: if one of these is not what it has to be.
    """

    def __init__(
        self,
        price: float,
        *,
        relative: bool = False,
        minimum_looks: int | None = None,
        maximum_looks: int | None = None,
        mode: str = "min",
        noise: float | None = None,
        samples: int | None = None,
        num: int | None = None,
        name: str | Path = "curves",
    ) -> None:
        self.price = number("price", price, above=0.0)
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected 'min' or 'max', got {mode!r:.60}")
        self.maximum_looks = None if maximum_looks is None else count("maximum_looks", maximum_looks)
        least = min(2, self.maximum_looks or 2)
        self.minimum_looks = least if minimum_looks is None else count("minimum_looks", minimum_looks)
        self.noise = None if noise is None else number("noise", noise)
        self.samples = None if samples is None else count("samples", samples)
        self.num = None if num is None else count("num", num)
        if self.maximum_looks is not None and self.maximum_looks < self.minimum_looks:
            got = f"{self.maximum_looks} and {self.minimum_looks}"
            raise ValueError(f"maximum_looks: expected at least minimum_looks, got {got}")
        if not isinstance(relative, bool):
            raise ValueError(f"relative: expected True or False, got {relative!r:.60}")
        self.relative, self.mode, self.name = relative, mode, str(name)
        self._head = _loaded(self.name)
        rows = num or 1
        self._memory = CurveMemory(rows)
        self._price = np.full(rows, np.nan if relative else self.price)
        self._decision = Decision(rows, self.minimum_looks, self.maximum_looks)
        self._hidden = self._head.init(rows)
        self._warned = False

    def update(self, loss: Any, *, train_loss: Any = None, noise: Any = None) -> Any:
        """Take one look in.

        :param loss: on the validation data: a number, or ``(num,)``.
        :param train_loss: of the stretch before it, if you have it.
        :param noise: standard error of this look, NaN where it is not known.
        :returns: whether it is a new best: bool, or ``(num,)``.
        :raises ValueError: if one of these is no number, or not ``num`` of them; the look does not count then.
        """
        sign = -1.0 if self.mode == "max" else 1.0
        value = sign * losses("loss", loss, self.num)
        train = None if train_loss is None else sign * losses("train_loss", train_loss, self.num)
        sigma = None if self.noise is None else np.full(len(value), self.noise)
        sigma = sigma if noise is None else errors("noise", noise, self.num)
        if self.relative:
            self._set_price(value)
        if self._decision.stopped_at.all():
            self._warn()
        points = None if self.samples is None else np.full(len(value), float(self.samples))
        is_best, signals = self._memory.take_in(value, train, sigma, points)
        goes = self._memory.has_begun & (self._price > 0)
        price = self._price if goes.all() else np.where(goes, self._price, 1.0)
        hazard, hidden = self._head.step(features(signals, price), self._hidden)
        self._hidden = hidden if goes.all() else np.where(goes[:, None], hidden, self._hidden)
        hazard[self._memory.rises_at_first | ~goes] = 0.0
        cost = self._memory.best + np.where(self._price > 0, self._price, 0.0) * self.num_looks
        self._decision.take_in(np.isfinite(value), hazard, cost)
        return is_best if self.num is not None else bool(is_best[0])

    def _set_price(self, value: Array) -> None:
        begins = np.isnan(self._price) & np.isfinite(value) & (value != 0)
        self._price[begins] = np.maximum(self.price * np.abs(value[begins]), SMALLEST)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            at = int(self._decision.stopped_at.max())
            warnings.warn(
                f"HaltingMonitor: it stopped at look {at}, and looks go on: leave the loop where should_stop() is true",
                stacklevel=3,
            )

    def _said(self, values: NDArray[Any]) -> Any:
        return values.copy() if self.num is not None else values[0].item()

    def should_stop(self) -> Any:
        """Whether it has stopped: bool, or ``(num,)``."""
        return self._said(self._decision.stopped_at > 0)

    @property
    def num_looks(self) -> int:
        """How many looks there were."""
        return self._memory.num_looks

    @property
    def stopped_at(self) -> Any:
        """The look at which it stopped; 0 before."""
        return self._said(self._decision.stopped_at)

    @property
    def best_look(self) -> Any:
        """The look with the best loss, from 1; 0 before a finite one."""
        return self._said(self._memory.best_look)

    @property
    def best_loss(self) -> Any:
        """The best loss; inf (-inf with mode "max") before a finite one."""
        return self._said(-self._memory.best if self.mode == "max" else self._memory.best)

    @property
    def hazard(self) -> Any:
        """q(s|x) / q(t >= s|x) of the last look s; NaN before a look."""
        return self._said(self._decision.hazards[-1] if self.num_looks else np.full(self.num or 1, np.nan))

    @property
    def halting_probability(self) -> Any:
        """Mass of q(t|x) at the looks so far."""
        return self._said(1 - np.prod(1 - self._decision.table, 0))

    def pays(self, looks: int) -> Any:
        """Probability that one of the next ``looks`` looks is below the best by more than the price of them all.

        :param looks: one of ``AHEAD``: 1, 3, 10 or 30.
        """
        if isinstance(looks, bool) or not isinstance(looks, int) or looks not in AHEAD:
            raise ValueError(f"looks: expected one of {', '.join(map(str, AHEAD))}, got {looks!r:.60}")
        expected = self._last()
        return self._foreseen(torch.sigmoid(expected.pays[..., AHEAD.index(looks)]).double().numpy())

    @property
    def expected_gain(self) -> Gain:
        """What going on is expected to bring, net of the price of its looks.

        :raises ValueError: before a look.
        """
        gain = unsquashed(self._last().gain.double()).numpy() * self._price[:, None]
        return Gain(*map(self._foreseen, gain.T))

    @property
    def expected_remaining_looks(self) -> Any:
        """Median of how many looks the best stop in hindsight is away.

        :raises ValueError: before a look.
        """
        return self._foreseen(self._last().remaining.double().expm1().clamp_min(0).numpy())

    def _foreseen(self, values: Array) -> Any:
        """NaN where nothing is known: before a finite loss, or a price."""
        return self._said(np.where(self._memory.has_begun & (self._price > 0), values, np.nan))

    def _last(self) -> Expected:
        if not self.num_looks:
            raise ValueError("expected a look before, got none: call update(loss)")
        return self._head.expected(self._hidden)

    @property
    def stop_reason(self) -> Any:
        """Why it stopped, in words; None before.  With ``num`` a list."""
        return list(self._decision.reasons) if self.num is not None else self._decision.reasons[0]

    def summary(self) -> str:
        """Why, when, and what it expects to have missed, in words; with ``num`` a line a curve."""
        return "\n".join(self._line(row) for row in range(len(self._decision.reasons)))

    def __repr__(self) -> str:
        price = f"HaltingMonitor(price={self.price:g}{', relative=True' if self.relative else ''})"
        if self.num is None:
            return f"<{price}: {self._line(0).partition('; price')[0]}>"
        stopped = int((self._decision.stopped_at > 0).sum())
        return f"<{price}: {self.num} curves, {stopped} of them stopped, {self.num_looks} looks>"

    def _line(self, row: int) -> str:
        head = "" if self.num is None else f"curve {row}: "
        if not self.num_looks:
            return f"{head}no look yet"
        price, reason, at = self._price[row], self._decision.reasons[row], self._decision.stopped_at[row]
        said = f"stopped at look {at}: {reason}" if reason else f"goes on after look {self.num_looks}"
        sign = -1 if self.mode == "max" else 1
        best, look = sign * self._memory.best[row], self._memory.best_look[row]
        found = f"best {best:.6g} at look {look}" if look else "no finite loss yet"
        if np.isnan(price):
            return f"{head}{said}; {found}; no price yet, which is a share of the first loss other than 0"
        if not look:
            return f"{head}{said}; {found}"
        low, median, high = (unsquashed(self._last().gain[row].double()) * price).tolist()
        pays = torch.sigmoid(self._last().pays[row, AHEAD.index(10)]).item()
        return (
            f"{head}{said}; {found}; price {price:.3g} a look. Going on: {median:+.2g} net of its price is expected "
            f"({low:+.2g} to {high:+.2g}, 4 in 5); that 10 more looks pay: {pays:.0%}"
        )

    def plot(self) -> Figure:
        """The losses, the best, and the mass of q(t|x) spent; needs Matplotlib."""
        from probact.monitoring.picture import draw

        title = self.summary().partition(";")[0] if self.num is None else f"{self.num} curves"
        sign = -1 if self.mode == "max" else 1
        curves, decision = sign * self._memory.losses, self._decision
        return draw(title, curves, decision.table.T, self._memory.best_look, decision.stopped_at)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, without the weights of its head; loads with ``weights_only``."""
        memory = {name: torch.from_numpy(table) for name, table in self._memory.to_state().items()}
        return {
            "settings": self._settings(),
            "memory": memory,
            "decision": self._decision.to_state(),
            "price": torch.from_numpy(self._price.copy()),
            "hidden": torch.from_numpy(self._hidden.copy()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another monitor of the same settings stood, bit for bit.

        :raises ValueError: if it is not the state of such a monitor; nothing is changed then.
        """
        try:
            settings = dict(state["settings"])
            if settings != self._settings():
                differ = {name for name, value in self._settings().items() if settings.get(name) != value}
                raise ValueError(f"expected the same {', '.join(sorted(differ))}")
            tables = {name: table.numpy() for name, table in state["memory"].items()}
            memory = CurveMemory.of_state(tables, self.num or 1)
            decision = self._decision.at(state["decision"], memory.num_looks)
            own = self.state_dict()
            price, hidden = (like(state[name], own[name], name) for name in ("price", "hidden"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = f"there is no {error} in it" if isinstance(error, KeyError) else error
            raise ValueError(f"not the state of a HaltingMonitor like this one ({why})") from None
        self._memory, self._decision, self._price, self._hidden = memory, decision, price, hidden

    def _settings(self) -> dict[str, Any]:
        names = ("price", "relative", "minimum_looks", "maximum_looks", "mode", "noise", "samples", "num", "name")
        return {name: getattr(self, name) for name in names}


def _loaded(name: str) -> OnlineHead:
    return _read(name, Path(name).stat().st_mtime_ns if Path(name).is_file() else 0)


@lru_cache(maxsize=8)
def _read(name: str, changed: int) -> OnlineHead:
    return OnlineHead(CurveHead.load(name))
