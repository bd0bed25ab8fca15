"""Training the head of a monitor on recorded curves: the halting model, with looks in place of steps.

A curve of K looks is one problem with T = K observed: its bound is the bracket of eq 10 (Sander 2017) for that T,

    ELBO_T = E_q(t|x,T)[ log p(x|t) ] - KL(q(t|x,T) || p(t|T)),     log p(x|t) = -n r_t,   n = log(1/r) / c,

r_t the test loss of the best look up to t by validation loss (recall), r = sqrt(nu), so that under p(t|T) ~ r^t the
price of a look is c in units of the loss.  log(1/r) nats a look says how sharp the posterior is.  Divided by n and by
what was to be gained, the bound is the negative regret share less an entropy that fades as nu falls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from probact.inference import exact
from probact.inference.posteriors.base import HaltingDistribution
from probact.inference.priors import Prior
from probact.monitoring.head import AHEAD, LEVELS, CurveHead, Expected, squashed
from probact.monitoring.signals import Signals, features, signals_of

PRICES = np.logspace(-5, -1.5, 29)
"""Prices of a look at which heads are trained, in units of the mean first loss of a data set."""

FLOOR = 5.0
"""What was to be gained counts as so many prices at least, or data sets where nothing pays would own the gradient."""


class Examples(NamedTuple):
    """N curves, padded to K looks; what lies after a curve's end repeats its last look.

    :ivar signals: ``(K, N, ...)``.
    :ivar returned: ``(K, N)``, test loss of the best look up to each.
    :ivar length: ``(N,)``, T.
    :ivar prices, scale: ``(N, 29)``, prices of a look and what a data set could gain at each, a curve.
    """

    signals: Signals
    returned: np.ndarray
    length: np.ndarray
    prices: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, valid: np.ndarray, test: np.ndarray, points: np.ndarray, train: np.ndarray | None = None) -> Examples:
        """Of the ``usable`` curves of one data set, one at least, ``(N, K)`` from look 0 on, NaN after their ends."""
        kept = usable(valid, test)
        valid, test, points = valid[kept], test[kept], points[kept]
        train = None if train is None else train[kept]
        length = (~np.isnan(valid)).sum(1)
        last = np.minimum(np.arange(valid.shape[1]), length[:, None] - 1)
        valid, test = (np.take_along_axis(table, last, 1).astype(np.float64) for table in (valid, test))
        best, signals = signals_of(valid.T, None if train is None else train.T, points)
        returned = np.take_along_axis(test.T, np.maximum(best, 1) - 1, 0)
        ceiling = 2 * returned[0] - returned.min(
            0
        )  # worse than the start by more than there was to gain counts as that
        returned = np.minimum(returned, ceiling)
        first = float(np.mean(np.abs(test[:, 0])))
        prices = PRICES * first
        looks = np.arange(valid.shape[1])
        J = returned.T[:, None] + prices[:, None] * np.minimum(looks, length[:, None] - 1)[:, None]
        gain = (returned[0][:, None] - J.min(2)).mean(0)
        num = len(valid)
        scale = np.maximum(gain, np.maximum(FLOOR * prices, 1e-3 * first))
        tables = (np.broadcast_to(values, (num, len(prices))) for values in (prices, scale))
        return cls(signals, returned, length, *tables)

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """All of them beside each other, as long as the longest."""
        longest = max(len(part.returned) for part in parts)
        fitted = [part._longer(longest) for part in parts]
        tables = [np.concatenate(values, 1) for values in zip(*((*p.signals, p.returned) for p in fitted), strict=True)]
        rows = [np.concatenate(values) for values in zip(*(part[2:] for part in fitted), strict=True)]
        return cls(Signals(*tables[:2]), tables[2], *rows)

    def _longer(self, looks: int) -> Examples:
        def padded(table: np.ndarray) -> np.ndarray:
            return np.concatenate([table, np.repeat(table[-1:], looks - len(table), 0)])

        return self._replace(signals=Signals(*map(padded, self.signals)), returned=padded(self.returned))

    def batch(self, size: int, generator: np.random.Generator) -> Batch:
        """``size`` curves of about one length at random, each at a price at random."""
        order, spread = np.argsort(self.length, kind="stable"), max(len(self.length) // 8, 1)
        place = generator.integers(len(order)) + generator.integers(-spread, spread + 1, size=size)
        curve = order[np.clip(place, 0, len(order) - 1)]
        which = generator.integers(self.prices.shape[1], size=size)
        price, scale = self.prices[curve, which], self.scale[curve, which]
        longest = int(self.length[curve].max())
        signals = Signals(*(table[:longest, curve] for table in self.signals))
        seen = features(signals, np.broadcast_to(price, (longest, size)))
        in_prices = self.returned[:longest, curve] / price
        return Batch(*map(torch.as_tensor, (seen, in_prices.astype(np.float32), self.length[curve], price / scale)))


def usable(valid: np.ndarray, test: np.ndarray) -> np.ndarray:
    """``(N,)``: which curves of a data set something can be learned of: those with two looks or more, from a loss on.

    None is if all begin at a test loss of 0, of which prices are shares.
    """
    kept = np.isfinite(valid[:, :2]).all(1) & np.isfinite(test[:, 0])
    return kept & test[kept, 0].any()


def varied(valid: np.ndarray, test: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Other curves that could have been: ``(N, K)`` each, NaN after their ends.

    All begin up to 10 looks later and take every m-th look, m = 1, 2, 3 or 5; or they are slower by a factor up to 3.
    Of the curves one in five stands still at first, one in five rises for a while, one in ten has a spike, one in three
    has a noisier validation loss, and one in four a constant added.
    """
    num, looks = valid.shape
    if generator.random() < 0.4:
        factor = generator.uniform(1, 3)
        valid, test = _slower(valid, factor), _slower(test, factor)
    else:
        start, every = generator.choice([0, 0, 1, 2, 5, 10]), generator.choice([1, 1, 2, 3, 5])
        if looks > 3 * every + start + 10:
            valid, test = valid[:, start::every], test[:, start::every]
    num, looks = valid.shape
    wait = np.where(generator.random((num, 1)) < 0.2, generator.integers(1, 30, (num, 1)), 0)
    held = np.maximum(np.arange(looks) - wait, 0)
    valid, test = (np.take_along_axis(table, held, 1) for table in (valid, test))
    begins = np.isfinite(valid[:, :1])
    first = np.where(begins, valid[:, :1], 0)
    whole = np.where(begins & np.isfinite(valid), valid, first)
    size = (first - whole.min(1, keepdims=True)) * 10 ** generator.uniform(-1.5, 0.5, (num, 1))
    place, step = generator.integers(1, looks, (num, 1)), np.arange(looks)
    early = np.minimum(generator.integers(1, 20, (num, 1)), looks - 1)
    width = generator.uniform(1, 8, (num, 1))
    rise = size * np.exp(-(((step - early) / width) ** 2)) * (generator.random((num, 1)) < 0.2) * (step > 0)
    spike = size * (step == place) * (generator.random((num, 1)) < 0.1)
    noise = generator.normal(size=valid.shape) * size * 10 ** generator.uniform(-2.5, -0.5, (num, 1))
    noise *= generator.random((num, 1)) < 1 / 3
    constant = first * generator.normal(size=(num, 1)) * (generator.random((num, 1)) < 0.25)
    return valid + rise + spike + noise + constant, test + rise + spike + constant


def _slower(table: np.ndarray, factor: float) -> np.ndarray:
    """Looks at ``table (N, K)`` ``factor`` times as dense, between those that were made on the line between them."""
    place = np.arange(table.shape[1]) / factor
    low = np.floor(place).astype(int)
    share = place - low
    later = np.where(share > 0, table[:, np.minimum(low + 1, len(place) - 1)], 0)  # 0 times inf is no number
    return (1 - share) * table[:, low] + share * later


class Batch(NamedTuple):
    """N curves up to the longest of them.

    :ivar features: ``(K, N, F)``.
    :ivar returned: ``(K, N)``, in prices.
    :ivar length: ``(N,)``.
    :ivar weight: ``(N,)``, a price as a share of what the data set could gain.
    """

    features: Tensor
    returned: Tensor
    length: Tensor
    weight: Tensor


def _last(table: Tensor, length: Tensor) -> Tensor:
    """Row T of ``table (T, N)``, ``(N,)``."""
    return table.gather(0, length.unsqueeze(0) - 1).squeeze(0)


def halting_loss(q: HaltingDistribution, prior: Prior, batch: Batch) -> Tensor:
    """-ELBO_T / n in shares of the possible gain, mean over the curves."""
    nats = prior.step_cost / 2
    in_prices = batch.returned - batch.returned[:1]
    bound = exact.elbo_given_horizon(q, prior.truncate(len(in_prices)), -nats * in_prices)
    return (-_last(bound, batch.length) / nats * batch.weight).mean()


class Targets(NamedTuple):
    """What came of going on, in prices, ``(K, N)`` but for ``pays (K, N, len(AHEAD))``; ``known`` as ``Expected``."""

    pays: Tensor
    pays_known: Tensor
    gain: Tensor
    remaining: Tensor
    known: Tensor

    @classmethod
    def of(cls, q: HaltingDistribution, batch: Batch) -> Targets:
        """Under q(t|x) with the rest at the end, and in hindsight."""
        r, looks = batch.returned, torch.arange(len(batch.returned)).unsqueeze(-1)
        longest = len(r)
        pays, pays_known = [], []
        for ahead in AHEAD:
            later = r[(torch.arange(longest) + ahead).clamp_max(longest - 1)]
            pays.append(r - later > ahead)
            pays_known.append(looks + ahead < batch.length)
        J = torch.where(looks < batch.length, r + looks, torch.inf)
        future = J.flip(0).cummin(0)
        best_later = longest - 1 - future.indices.flip(0)
        hazard = torch.sigmoid(q.logits.detach())
        gains = torch.zeros_like(r)
        gain = torch.zeros_like(r[0])
        for look in range(longest - 2, -1, -1):
            step = r[look] - r[look + 1] - 1
            gain = torch.where(look + 1 < batch.length, step + (1 - hazard[look + 1]) * gain, 0.0)
            gains[look] = gain
        return cls(
            torch.stack(pays, -1),
            torch.stack(pays_known, -1),
            gains,
            torch.log1p((best_later - looks).clamp_min(0).float()),
            looks + 1 < batch.length,
        )


def expectation_loss(found: Expected, targets: Targets) -> Tensor:
    """Log loss of ``pays``, quantile loss of the two others (Koenker and Bassett 1978), where they are known."""
    pays = F.binary_cross_entropy_with_logits(found.pays, targets.pays.float(), reduction="none")
    known = targets.known
    levels = found.gain.new_tensor(LEVELS)
    off = squashed(targets.gain).unsqueeze(-1) - found.gain
    gain = torch.maximum(levels * off, (levels - 1) * off).sum(-1)
    remaining = (targets.remaining - found.remaining).abs()
    return (
        (pays * targets.pays_known).sum() / targets.pays_known.sum().clamp_min(1)
        + (gain * known).sum() / known.sum().clamp_min(1)
        + (remaining * known).sum() / known.sum().clamp_min(1)
    )


def train_head(
    examples: Examples,
    seed: int,
    updates: int = 3000,
    batch: int = 128,
    lr: float = 3e-3,
    hidden_size: int = 32,
    sharpness: tuple[float, float] = (1.0, 10.0),
    expectation_weight: float = 0.05,
) -> Iterator[tuple[int, float, CurveHead]]:
    """The update, its halting loss and the head as it is then; Adam under a one-cycle rate.

    :param sharpness: log(1/r) nats a look at the first update and at the last.
    """
    generator = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = CurveHead(nu=0.99, hidden_size=hidden_size)
    optimizer = torch.optim.Adam(head.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=updates, pct_start=0.1)
    for update in range(updates):
        low, high = map(math.log, sharpness)
        nats = math.exp(low + (high - low) * min(1.0, 1.5 * update / updates))
        some = examples.batch(batch, generator)
        prior = Prior(math.exp(-2 * nats), len(some.returned))
        q, expected = head(some.features)
        loss = halting_loss(q, prior, some)
        total = loss + expectation_weight * expectation_loss(expected, Targets.of(q, some))
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield update + 1, loss.item(), head
