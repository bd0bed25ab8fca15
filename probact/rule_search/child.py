"""What a rule is tried on: small networks that it trains for a moment, at seven learning rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from probact.problems.base import FAMILIES, Score, Shared
from probact.problems.network import Network
from probact.rule_search.halting import Halting, Never
from probact.rule_search.lot import Lot
from probact.rules.expressions.grammar import Node
from probact.support.randomness import random_stream

RATES = tuple(10.0**power for power in range(-5, 2))
"""Learning rates that are tried for an epoch each (Bello et al. 2017, section 5.1)."""
NETWORKS = 2
EPOCH, EPOCHS = 16, 5
"""Steps of an epoch; epochs of the training at the best rate."""
EVERY = 4
"""Steps between two looks while all rates are tried; and as many network-steps later."""
LOOKS = (*range(EVERY, EPOCH + 1, EVERY), *range(28, EPOCH * EPOCHS, 28))
"""Steps at which a rule may be stopped: four in the first epoch, then two in the second training."""
VALIDATION = 400
WORST = 10.0
"""A loss counts as so many nats at most."""
REWARDS = ("accuracy", "loss")


class Tried(NamedTuple):
    """How a rule did.

    :ivar reward: mean validation accuracy, or minus mean validation loss; the higher the better.
    :ivar loss: mean validation loss, in nats, at most ``WORST``; :ivar accuracy: mean validation accuracy.
    :ivar rate: the learning rate of ``RATES`` that was best after one epoch.
    :ivar stopped_at: number of the look at which it was stopped, from 1; 0 where it went to the end.
    :ivar curve: training loss at each look, smallest over the rates.
    :ivar validation: validation loss at each look and at the end, where it was asked for; else empty.
    """

    reward: float
    loss: float
    accuracy: float
    rate: float
    stopped_at: int
    curve: tuple[float, ...]
    validation: tuple[float, ...] = ()


class Child:
    """Networks of a family, its training rows split in two, so that its held-out rows stay for judging.

    :param family: name of a family of networks; :param reward: of ``REWARDS``.
    :param seed: of the networks, their minibatches and the random numbers of rules.
    :raises ValueError: on a family without such networks.
    """

    def __init__(self, family: str = "digits", reward: str = "accuracy", seed: int = 0, num: int = NETWORKS) -> None:
        self.reward, self.seed, self.num = reward, seed, num
        self.problems = problems_of(family, num, seed)
        if reward == "accuracy" and not self.problems.classifier:
            raise ValueError(f"reward: expected loss, as family {family!r} is no classifier, got {reward!r}")

    def try_out(self, trees: Sequence[Node], halting: Halting | None = None, watch: bool = False) -> list[Tried]:
        """Every rule, side by side: an epoch at all rates, then ``EPOCHS`` at the best one, from the same start.

        :param halting: stops rules on the way; what it has seen grows.
        :param watch: keep the validation losses of every look.
        """
        halting = halting or Never()
        race = _Race(self, trees, halting.begin(len(trees)), watch)
        with torch.no_grad():
            lot = Lot(self.problems, trees, torch.tensor(RATES).expand(len(trees), -1), EPOCH, self.seed)
            for _ in range(EPOCH // EVERY):
                lot = race.stretch(lot, EVERY)
            rates = race.best_rates(lot)
            lot = Lot(self.problems, lot.trees, rates, EPOCH * EPOCHS, self.seed)
            for steps in (28, 28):
                lot = race.stretch(lot, steps)
            race.end(lot)
        tried = [race.tried[place] for place in range(len(trees))]
        halting.end(tried)
        return tried

    def rewarded(self, score: Score) -> tuple[float, float, float]:
        """Reward, loss and accuracy: means over networks ``(N,)``."""
        loss = float(torch.nan_to_num(score.loss, nan=WORST).clamp_max(WORST).mean())
        accuracy = float(score.accuracy.mean())
        return (accuracy if self.reward == "accuracy" else -loss), loss, accuracy


def problems_of(family: str, num: int, seed: int, test: bool = False, **options: object) -> Network:
    """``num`` networks that train on the first of a family's training rows and are scored on the rest of them.

    :param test: score them on the family's held-out rows instead.
    :raises ValueError: if the family is not one of networks.
    """
    drawn = FAMILIES.build(family, options).sample(num, random_stream("train", seed))
    if not isinstance(drawn, Network):
        choices = ", ".join(name for name in FAMILIES if name.startswith(("digits", "mnist")) and "mixed" not in name)
        raise ValueError(f"child: expected a family of networks such as {choices}, got {family!r}")
    inputs, targets, *held_out = drawn.data.tensors
    order = torch.randperm(len(inputs), generator=random_stream("validation", 0))
    kept, rest = order[: -min(VALIDATION, len(order) // 3)], order[-min(VALIDATION, len(order) // 3) :]
    scored = held_out if test else [inputs[rest], targets[rest]]
    return replace(drawn, data=Shared((inputs[kept], targets[kept], *scored)))


class _Race:
    """The rules of one ``try_out``: which are left, what was seen of each, and how each ended."""

    def __init__(self, child: Child, trees: Sequence[Node], halting: Halting, watch: bool) -> None:
        self.child, self.halting, self.watch = child, halting, watch
        self.left = list(range(len(trees)))
        self.curves: list[list[float]] = [[] for _ in trees]
        self.watched: list[list[float]] = [[] for _ in trees]
        self.tried: dict[int, Tried] = {}
        self.rates = [math.nan] * len(trees)
        self.look = 0

    def stretch(self, lot: Lot, steps: int) -> Lot:
        """``steps`` steps and a look; the rules that go on."""
        if not self.left:
            return lot
        losses = torch.stack([lot.step() for _ in range(steps)])[-EVERY:].nan_to_num(nan=WORST).clamp_max(WORST)
        by_rate = losses.mean((0, -1))
        best, which = by_rate.min(-1)
        self.look += 1
        for row, place in enumerate(self.left):
            self.curves[place].append(float(best[row]))
            if lot.rates.shape[1] > 1:
                self.rates[place] = float(lot.rates[row, which[row]])
        stops = self.halting.stops(self.look, self.left, best.double().numpy())
        if self.watch or stops.any():
            self._score(lot, which, stops)
        return self._without(lot, ~torch.from_numpy(stops))

    def _score(self, lot: Lot, which: Tensor, stops: object) -> None:
        """Validation of those that stop, or of all that are watched, each at its best rate."""
        halted = torch.as_tensor(stops)
        wanted = torch.ones_like(halted) if self.watch else halted
        for row, score in zip(wanted.nonzero().flatten().tolist(), lot.scores_at(which, wanted), strict=True):
            place = self.left[row]
            found = self.child.rewarded(score)
            self.watched[place].append(found[1])
            if halted[row]:
                self._finish(place, found, self.look)

    def _without(self, lot: Lot, kept: Tensor) -> Lot:
        if bool(kept.all()):
            return lot
        self.left = [place for place, keeps in zip(self.left, kept.tolist(), strict=True) if keeps]
        return lot.keep(kept)

    def best_rates(self, lot: Lot) -> Tensor:
        """By validation after the epoch, ``(R, 1)``: the best reward, of equal ones that of the smallest loss."""
        if not self.left:
            return torch.zeros(0, 1)
        score = lot.scores()
        loss, accuracy = torch.nan_to_num(score.loss, nan=WORST).clamp_max(WORST).mean(-1), score.accuracy.mean(-1)
        best = (loss - 1e3 * accuracy if self.child.reward == "accuracy" else loss).argmin(-1, keepdim=True)
        rates = lot.rates.gather(1, best)
        for row, place in enumerate(self.left):
            self.rates[place] = float(rates[row])
        return rates

    def end(self, lot: Lot) -> None:
        """The last steps, and the rewards."""
        if not self.left:
            return
        while lot.made < lot.total:
            lot.step()
        score = lot.scores()
        for row, place in enumerate(self.left):
            found = self.child.rewarded(Score(score.loss[row, 0], score.accuracy[row, 0]))
            self.watched[place].append(found[1])
            self._finish(place, found, 0)

    def _finish(self, place: int, found: tuple[float, float, float], stopped_at: int) -> None:
        watched = tuple(self.watched[place]) if self.watch else ()
        self.tried[place] = Tried(*found, self.rates[place], stopped_at, tuple(self.curves[place]), watched)
