"""What a search knows of f: Gaussian processes through the values so far, and the improvement that they expect."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from probact.support.kernels import correlation

JITTER = 1e-8
"""Added to the kernel's diagonal; above 1e-6 the expected improvement never falls low enough to stop by it."""
PSEUDO_VALUES = 0.3
"""n_0: how many values the prior of the amplitude, around the spread of the values, counts as."""
OFFSET = 1.0
"""Variance of the unknown mean, in squared amplitudes."""
ROOT_HALF = math.sqrt(0.5)
LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


def _h(z: Tensor) -> Tensor:
    """z Phi(z) + phi(z)."""
    return 0.5 * z * torch.erfc(-ROOT_HALF * z) + torch.exp(-0.5 * z * z - LOG_ROOT_2PI)


def expected_improvement(mean: Tensor, sd: Tensor, best: Tensor) -> Tensor:
    """E[max(best - f, 0)] for f ~ N(mean, sd^2): sd (z Phi(z) + phi(z)), z = (best - mean) / sd (Mockus 1978)."""
    return sd * _h((best - mean) / sd).clamp_min(0)


def log_expected_improvement(mean: Tensor, sd: Tensor, best: Tensor) -> Tensor:
    """Its log, also where it is smaller than any number: by erfcx below z = -1 (Ament et al. 2023)."""
    z = (best - mean) / sd
    low = z.clamp_max(-1)
    ratio = math.sqrt(math.pi / 2) * low.abs() * torch.special.erfcx(-ROOT_HALF * low)  # -> 1 - 1 / z^2
    far = (
        -0.5 * low * low
        - LOG_ROOT_2PI
        + torch.where(low > -1e4, torch.log1p(-ratio.clamp_max(1 - 1e-9)), -2 * low.abs().log())
    )
    return sd.log() + torch.where(z > -1, _h(z.clamp_min(-1)).log(), far)


class Beliefs(NamedTuple):
    """G processes through n values of each of L functions, ``float64``; what each new value adds a row to.

    With R the inverse of the Cholesky factor of the kernel matrix: a = R y, b = R 1, v = R k(X, candidates).

    :ivar x: ``(L, n, d)``; ``y``: ``(L, n)``, less the first value; ``first``: that, ``(L,)``.
    :ivar lengths: ``(L, G)``.
    :ivar root: R, ``(L, G, n, n)``; ``a``, ``b``: ``(L, G, n)``; ``v``: ``(L, G, n, C)``.
    :ivar log_det: log det of the factor, ``(L, G)``.
    :ivar vv, va, vb: sums over n of v^2, v a and v b, ``(L, G, C)``.
    """

    x: Tensor
    y: Tensor
    first: Tensor
    lengths: Tensor
    root: Tensor
    a: Tensor
    b: Tensor
    v: Tensor
    log_det: Tensor
    vv: Tensor
    va: Tensor
    vb: Tensor


class Proposal(NamedTuple):
    """Where to ask next.

    :ivar x: ``(L, d)``, where the expected improvement is largest; ``expected``: that, ``(L,)``, in the unit of y.
    :ivar unit: ``(L,)``, the spread of the values so far, what a standardised one is in; 0 where it is not known.
    :ivar centre: ``(L,)``, their mean, less ``Beliefs.first``.
    :ivar log_weights: of the length-scales, ``(L, G)``.
    :ivar z: (best - mean) / sd there, averaged over the length-scales, ``(L,)``.
    """

    x: Tensor
    expected: Tensor
    unit: Tensor
    centre: Tensor
    log_weights: Tensor
    z: Tensor


@cache
def candidates(dim: int) -> Tensor:
    """Points of [0, 1]^d where the improvement is worked out first, ``(C, d)``: a grid, or Sobol's."""
    if dim == 1:
        return torch.linspace(0, 1, 61, dtype=torch.float64).unsqueeze(-1)
    num = 2 ** min(10, 7 + dim)
    return torch.quasirandom.SobolEngine(dim, scramble=True, seed=0).draw(num, dtype=torch.float64)


@cache
def offsets(dim: int) -> tuple[Tensor, Tensor]:
    """Points around one, ``(C', d)``: at many distances down to 5e-4, and within 1 of it."""
    if dim == 1:
        far = 5e-4 * 2.0 ** torch.arange(7, dtype=torch.float64)
        return torch.cat([-far, far]).unsqueeze(-1), torch.linspace(-1, 1, 9, dtype=torch.float64).unsqueeze(-1)
    random = torch.Generator().manual_seed(dim)
    num = 16 + 8 * dim
    ways = torch.randn(2 * num, dim, generator=random, dtype=torch.float64)
    ways = ways / ways.norm(dim=1, keepdim=True)
    sizes = torch.rand(2 * num, 1, generator=random, dtype=torch.float64)
    near = torch.cat([torch.zeros(1, dim, dtype=torch.float64), ways[num:] * sizes[num:]])
    return ways[:num] * 2e-3 * 150 ** sizes[:num], near


class Surrogate:
    """G Gaussian processes on [0, 1]^d, weighed by their marginal likelihood; all on L functions at once.

    Values are standardised by their own mean and spread, so that neither unit nor offset of f matters.  Given them the
    mean is N(0, ``OFFSET`` A^2) and the amplitude A^2 = (n_0 + Q) / (n_0 + n), Q = y^T K^-1 y; the weight of a
    length-scale is |K|^(-1/2) (n_0 + Q)^(-(n_0 + n) / 2) (Rasmussen and Williams 2006, chapters 2 and 5).

    :param known: f is of mean 0 and variance 1 and in that unit: nothing is standardised, and the weight of a
        length-scale is |K|^(-1/2) e^(-Q / 2).
    :param best_alone: take the likeliest length-scale in place of all by their weights.
    :param noise: standard deviation of the noise, in amplitudes.
    """

    def __init__(self, kernel: str, noise: float = 0.0, known: bool = False, best_alone: bool = False) -> None:
        self.kernel, self.known, self.best_alone = kernel, known, best_alone
        self.noise = noise**2 + JITTER
        self.offset = 0.0 if known else OFFSET

    def init(self, num: int, dim: int, lengths: Tensor) -> Beliefs:
        """Before the first value; ``lengths (L, G)``."""
        points = candidates(dim).to(lengths)
        groups = lengths.shape[1]
        empty = lengths.new_empty
        zero = lengths.new_zeros(num, groups, len(points))
        return Beliefs(
            x=empty(num, 0, dim),
            y=empty(num, 0),
            first=lengths.new_zeros(num),
            lengths=lengths,
            root=empty(num, groups, 0, 0),
            a=empty(num, groups, 0),
            b=empty(num, groups, 0),
            v=empty(num, groups, 0, len(points)),
            log_det=lengths.new_zeros(num, groups),
            vv=zero,
            va=zero,
            vb=zero,
        )

    def covariance(self, x: Tensor, at: Tensor, lengths: Tensor) -> Tensor:
        """k(x, at) with the mean's, ``(L, G, n, C)``, for ``x (L, n, d)`` and ``at (L or 1, C, d)``."""
        squares = (x.unsqueeze(-2) - at.unsqueeze(-3)).square().sum(-1)
        scaled = squares.unsqueeze(1) / lengths.square()[..., None, None]
        return correlation(scaled, self.kernel) + self.offset

    def take_in(self, beliefs: Beliefs, x: Tensor, y: Tensor) -> Beliefs:
        """With one value more, ``y (L,)`` at ``x (L, d)``: one row more of the Cholesky factor's inverse."""
        old = beliefs
        num = old.x.shape[1]
        first = old.first if num or self.known else y
        y = y - first
        here = x.unsqueeze(1)
        points = candidates(x.shape[1]).to(x).unsqueeze(0)
        column = self.covariance(old.x, here, old.lengths)
        row = (old.root @ column).squeeze(-1)
        pivot = (1 + self.offset + self.noise - row.square().sum(-1)).clamp_min(self.noise).sqrt()
        short = row.unsqueeze(-2)
        grid = self.covariance(here, points, old.lengths).squeeze(-2)
        v = (grid - (short @ old.v).squeeze(-2)) / pivot.unsqueeze(-1)
        a = (y.unsqueeze(-1) - (row * old.a).sum(-1)) / pivot
        b = (1 - (row * old.b).sum(-1)) / pivot
        below = torch.cat([-(short @ old.root).squeeze(-2) / pivot.unsqueeze(-1), 1 / pivot.unsqueeze(-1)], -1)
        root = torch.cat([torch.nn.functional.pad(old.root, (0, 1)), below.unsqueeze(-2)], -2)
        return Beliefs(
            x=torch.cat([old.x, here], 1),
            y=torch.cat([old.y, y.unsqueeze(-1)], 1),
            first=first,
            lengths=old.lengths,
            root=root,
            a=torch.cat([old.a, a.unsqueeze(-1)], -1),
            b=torch.cat([old.b, b.unsqueeze(-1)], -1),
            v=torch.cat([old.v, v.unsqueeze(-2)], -2),
            log_det=old.log_det + pivot.log(),
            vv=old.vv + v.square(),
            va=old.va + v * a.unsqueeze(-1),
            vb=old.vb + v * b.unsqueeze(-1),
        )

    def standard(self, beliefs: Beliefs) -> tuple[Tensor, Tensor]:
        """Mean (less the first value) and spread of the values, ``(L,)``; a spread of 0 is none."""
        y = beliefs.y
        if self.known:
            return torch.zeros_like(beliefs.first), torch.ones_like(beliefs.first)
        return y.mean(1), y.std(1, correction=0)

    def posterior(self, beliefs: Beliefs, at: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean and standard deviation of f at ``at (L, C, d)``, ``(L, G, C)``, in the unit of y less the first value.

        Then log weights ``(L, G)`` and the amplitude ``(L, G)``, in units of the spread.
        """
        fit = _Fit.of(self, beliefs)
        mean, sd = self._at(beliefs, fit, at)
        unit = fit.unit[:, None, None]
        return mean * unit + fit.centre[:, None, None], sd * unit, fit.log_weights, fit.amplitude

    def _at(self, beliefs: Beliefs, fit: _Fit, at: Tensor) -> tuple[Tensor, Tensor]:
        v = beliefs.root @ self.covariance(beliefs.x, at, beliefs.lengths)
        mean = (fit.a.unsqueeze(-2) @ v).squeeze(-2)
        return mean, self._sd(fit, v.square().sum(-2))

    def _sd(self, fit: _Fit, explained: Tensor) -> Tensor:
        return fit.amplitude.unsqueeze(-1) * (1 + self.offset - explained).clamp_min(1e-2 * JITTER).sqrt()

    def propose(self, beliefs: Beliefs) -> Proposal:
        """The largest expected improvement on the candidates, around the best query, and around those."""
        fit = _Fit.of(self, beliefs)
        dim = beliefs.x.shape[-1]
        points, (around, near) = candidates(dim).to(beliefs.x), (some.to(beliefs.x) for some in offsets(dim))
        unit = torch.where(fit.unit > 0, fit.unit, 1.0)[:, None, None]
        mean = (beliefs.va - fit.centre[:, None, None] * beliefs.vb) / unit
        x, gain, z = self._best_of(fit, points.expand(len(beliefs.x), -1, -1), mean, self._sd(fit, beliefs.vv))
        best = beliefs.x.gather(1, beliefs.y.argmin(1).view(-1, 1, 1).expand(-1, -1, dim))
        radius = 0.5 * len(points) ** (-1 / dim) if dim > 1 else 1 / (len(points) - 1)
        for number in range(2 if dim == 1 else 3):
            some = x.unsqueeze(1) + radius * near
            some = some if number else torch.cat([some, best + around], 1)
            found = self._best_of(fit, some := some.clamp(0, 1), *self._at(beliefs, fit, some))
            better = found[1] > gain
            x = torch.where(better.unsqueeze(-1), found[0], x)
            gain, z = torch.where(better, found[1], gain), torch.where(better, found[2], z)
            radius *= 0.25 if dim == 1 else 0.4
        return Proposal(x, gain * fit.unit, fit.unit, fit.centre, fit.log_weights, z)

    def _best_of(self, fit: _Fit, at: Tensor, mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of ``at (L, C, d)`` the point, its expected improvement and z, ``(L,)``."""
        weights = fit.log_weights.exp().unsqueeze(-2)
        ratio = (fit.best[:, None, None] - mean) / sd
        gains = (weights @ (sd * _h(ratio).clamp_min(0))).squeeze(-2)
        gain, index = gains.max(1)
        x = at.gather(1, index.view(-1, 1, 1).expand(-1, -1, at.shape[-1])).squeeze(1)
        there = ratio.gather(2, index.view(-1, 1, 1).expand(-1, ratio.shape[1], 1))
        return x, gain, (weights @ there).flatten()


class _Fit(NamedTuple):
    """What of the beliefs depends on all values at once: see ``Surrogate``; standardised, but for unit and centre."""

    a: Tensor
    best: Tensor
    amplitude: Tensor
    log_weights: Tensor
    unit: Tensor
    centre: Tensor

    @classmethod
    def of(cls, surrogate: Surrogate, beliefs: Beliefs) -> _Fit:
        centre, unit = surrogate.standard(beliefs)
        divisor = torch.where(unit > 0, unit, 1.0)
        a = (beliefs.a - centre[:, None, None] * beliefs.b) / divisor[:, None, None]
        best = (beliefs.y.min(1).values - centre) / divisor
        if surrogate.known:
            log_weights = torch.log_softmax(-beliefs.log_det - 0.5 * a.square().sum(-1), -1)
            return cls(a, best, torch.ones_like(log_weights), log_weights, unit, centre)
        total = PSEUDO_VALUES + beliefs.y.shape[1]
        spent = PSEUDO_VALUES + a.square().sum(-1)
        log_weights = torch.log_softmax(-beliefs.log_det - 0.5 * total * spent.log(), -1)
        if surrogate.best_alone:
            chosen = torch.nn.functional.one_hot(log_weights.argmax(-1), log_weights.shape[-1])
            log_weights = torch.where(chosen > 0, 0.0, -math.inf).to(log_weights)
        return cls(a, best, (spent / total).sqrt(), log_weights, unit, centre)
