"""Which rules are stopped on the way, as the losses of their first steps say that they are hopeless."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from probact.monitoring.monitor import HaltingMonitor
from probact.support.registry import Registry

if TYPE_CHECKING:
    from probact.rule_search.child import Tried

HEAD = Path(__file__).with_name("child.pt")
"""The head of ``learned``, trained on recorded curves of random rules by ``python benchmarks/found_rules.py head``."""


class Halting(ABC):
    """Looks at the training losses of rules that go on side by side.

    Subclasses register a name in ``HALTINGS``.
    """

    name: ClassVar[str]

    def begin(self, num: int) -> Self:
        """Before the first look at ``num`` new rules."""
        return self

    @abstractmethod
    def stops(self, look: int, places: Sequence[int], losses: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of them stop.

        :param look: its number, from 1.
        :param places: of the rules that are left, among those that began together.
        :param losses: one for each place, smallest over the learning rates.
        """

    def end(self, tried: Sequence[Tried]) -> None:
        """How the rules ended."""
        return

    def to_state(self) -> dict[str, Any]:
        """What it has learned of rules, for a checkpoint."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """What ``to_state`` gave."""
        return


HALTINGS: Registry[Halting] = Registry("halting", Halting)


@HALTINGS.register("none")
class Never(Halting):
    """Every rule goes to the end."""

    def stops(self, look: int, places: Sequence[int], losses: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.zeros(len(losses), dtype=bool)


class _Remembering(Halting):
    """One that compares with the rules before: their losses of each look, in ``seen``."""

    def __init__(self) -> None:
        self.seen: dict[int, list[float]] = {}

    def to_state(self) -> dict[str, Any]:
        return {"seen": {look: list(losses) for look, losses in self.seen.items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        self.seen = {int(look): list(losses) for look, losses in state["seen"].items()}


@HALTINGS.register("median")
class Median(_Remembering):
    """Stops a rule whose best loss so far is above the median loss there of the rules that went to the end.

    The rule of Google Vizier (Golovin et al. 2017, section 3.2.2); the first ten rules go to the end.
    """

    least: ClassVar[int] = 10

    def begin(self, num: int) -> Self:
        self._best = np.full(num, np.inf)
        return self

    def stops(self, look: int, places: Sequence[int], losses: NDArray[np.float64]) -> NDArray[np.bool_]:
        best = np.minimum(self._best[list(places)], losses)
        self._best[list(places)] = best
        before = self.seen.get(look, [])
        return best > np.median(before) if len(before) >= self.least else np.zeros(len(losses), dtype=bool)

    def end(self, tried: Sequence[Tried]) -> None:
        for one in tried:
            if not one.stopped_at:
                for look, loss in enumerate(np.minimum.accumulate(one.curve), 1):
                    self.seen.setdefault(look, []).append(float(loss))


@HALTINGS.register("halving")
class Halving(_Remembering):
    """Successive halving without waiting: at each rung the best third so far goes on (Li et al. 2020, ASHA).

    Rungs are the first look and the last one of the first epoch: each rule gets three to four times as much training.
    """

    eta: ClassVar[int] = 3
    rungs: ClassVar[tuple[int, ...]] = (1, 4)

    def stops(self, look: int, places: Sequence[int], losses: NDArray[np.float64]) -> NDArray[np.bool_]:
        if look not in self.rungs:
            return np.zeros(len(losses), dtype=bool)
        seen = self.seen.setdefault(look, [])
        seen.extend(losses.tolist())
        return losses > np.quantile(seen, 1 / self.eta)


@HALTINGS.register("learned")
class Learned(Halting):
    """Stops a rule where more training is not worth its price by the halting posterior of a ``HaltingMonitor``.

    Its head is trained on recorded curves of random rules: a look brings what it lowers the validation loss below that
    of the best tenth of them, so that a rule that will not come so far has nothing to gain.  It sees the best loss so
    far, as a rise is no reason to wait here.

    :param price: of a look, in nats of validation loss.
    """

    def __init__(self, price: float = 0.03, head: Path = HEAD) -> None:
        self.price, self.head = price, head

    def begin(self, num: int) -> Self:
        self._monitor = HaltingMonitor(self.price, minimum_looks=1, num=num, name=self.head) if num else None
        self._best = np.full(num, np.inf)
        return self

    def stops(self, look: int, places: Sequence[int], losses: NDArray[np.float64]) -> NDArray[np.bool_]:
        if self._monitor is None or self._monitor.should_stop().all():
            return np.ones(len(losses), dtype=bool)
        self._best[list(places)] = np.minimum(self._best[list(places)], losses)
        self._monitor.update(self._best)
        stopped: NDArray[np.bool_] = self._monitor.should_stop()
        return stopped[list(places)]
