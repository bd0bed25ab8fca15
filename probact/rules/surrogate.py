"""What a search knows of f: Gaussian processes through the values so far, and the improvement that they expect."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.candidates import candidates, candidates_like, offsets_like
from probact.support.arrays import Array, operations
from probact.support.kernels import correlation

JITTER = 1e-8
"""Added to the kernel's diagonal; above 1e-6 the expected improvement never falls low enough to stop by it."""
PSEUDO_VALUES = 0.3
"""n_0: how many values the prior of the amplitude, around the spread of the values, counts as."""
OFFSET = 1.0
"""Variance of the unknown mean, in squared amplitudes."""
TIE = 1e-6
"""A gain that is larger by so small a share is not: what is asked should not depend on rounding."""
ROOM = 16
"""How many values there is room for at first; then twice as many."""
ROOT_HALF = math.sqrt(0.5)
LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
DENSITY_AT_0 = math.exp(-LOG_ROOT_2PI)


def _h(z: Array) -> Array:
    """z Phi(z) + phi(z)."""
    do = operations(z)
    u = -ROOT_HALF * z
    return do.exp(-u * u) * DENSITY_AT_0 - ROOT_HALF * u * do.erfc(u)


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

    With R the inverse of the Cholesky factor of the kernel matrix: v = R k(X, candidates), a = R y, b = R 1.

    :ivar x: ``(L, n, d)``; ``y``: ``(L, n)``, less the first value; ``first``: that, ``(L,)``.
    :ivar lengths: ``(L, G)``.
    :ivar rows: ``(L, G, N, C + 3 + N)`` with room for N >= n values: [v, a, b, whether it is taken, R].  A row that is
        taken is never written to again, so that what was believed before stays as it was.
    :ivar log_det: log det of the factor, ``(L, G)``.
    :ivar vv, va, vb: sums over n of v^2, v a and v b, ``(L, G, C)``.
    """

    x: Array
    y: Array
    first: Array
    lengths: Array
    rows: Array
    log_det: Array
    vv: Array
    va: Array
    vb: Array

    @property
    def num(self) -> int:
        """n."""
        return int(self.y.shape[1])

    @property
    def root(self) -> Array:
        """R, ``(L, G, n, n)``."""
        num, start = self.num, self.vv.shape[-1] + 3
        return self.rows[:, :, :num, start : start + num]

    def of_values(self, what: int) -> Array:
        """a for 0, b for 1, ``(L, G, n)``."""
        return self.rows[:, :, : self.num, self.vv.shape[-1] + what]

    def roomy(self) -> Array:
        """``rows`` with a free one for the next value: these, or a copy."""
        num, room = self.num, self.rows.shape[2]
        taken = self.vv.shape[-1] + 2
        if num < room and not bool(self.rows[0, 0, num, taken]):
            return self.rows
        room = 2 * room if num == room else room
        rows = operations(self.rows).zeros((*self.vv.shape[:2], room, taken + 1 + room), self.rows)
        rows[:, :, :num, : taken + 1 + num] = self.rows[:, :, :num, : taken + 1 + num]
        return rows


class Proposal(NamedTuple):
    """Where to ask next.

    :ivar x: ``(L, d)``, where the expected improvement is largest; ``expected``: that, ``(L,)``, in the unit of y.
    :ivar unit: ``(L,)``, the spread of the values so far, what a standardised one is in; 0 where it is not known.
    :ivar centre: ``(L,)``, their mean, less ``Beliefs.first``.
    :ivar log_weights: of the length-scales, ``(L, G)``.
    :ivar z: (best - mean) / sd there, averaged over the length-scales, ``(L,)``.
    """

    x: Array
    expected: Array
    unit: Array
    centre: Array
    log_weights: Array
    z: Array


class Surrogate:
    """G Gaussian processes on [0, 1]^d, weighed by their marginal likelihood; all on L functions at once.

    Values are standardised by their own mean and spread, so that neither unit nor offset of f matters.  Given them the
    mean is N(0, ``OFFSET`` A^2) and the amplitude A^2 = (n_0 + Q) / (n_0 + n), Q = y^T K^-1 y; the weight of a
    length-scale is |K|^(-1/2) (n_0 + Q)^(-(n_0 + n) / 2) (Rasmussen and Williams 2006, chapters 2 and 5).
    All but ``init`` takes torch's tensors, or numpy's arrays, which cost less where L is 1.

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
        size, groups = len(candidates(dim)), lengths.shape[1]
        zero = lengths.new_zeros(num, groups, size)
        return Beliefs(
            x=lengths.new_empty(num, 0, dim),
            y=lengths.new_empty(num, 0),
            first=lengths.new_zeros(num),
            lengths=lengths,
            rows=lengths.new_zeros(num, groups, ROOM, size + 3 + ROOM),
            log_det=lengths.new_zeros(num, groups),
            vv=zero,
            va=zero,
            vb=zero,
        )

    def covariance(self, x: Array, at: Array, lengths: Array) -> Array:
        """k(x, at) with the mean's, ``(L, G, n, C)``, for ``x (L, n, d)`` and ``at (L or 1, C, d)``."""
        apart = (x[:, :, None, axis] - at[:, None, :, axis] for axis in range(x.shape[-1]))
        squares: Array = sum(one * one for one in apart)
        scaled = squares[:, None] / (lengths * lengths)[:, :, None, None]
        return correlation(scaled, self.kernel) + self.offset

    def take_in(self, beliefs: Beliefs, x: Array, y: Array) -> Beliefs:
        """With one value more, ``y (L,)`` at ``x (L, d)``: one row more of the Cholesky factor's inverse."""
        old, do = beliefs, operations(x)
        num, size = old.num, old.vv.shape[-1]
        first = old.first if num or self.known else y
        y, here = y - first, x[:, None]
        points = candidates_like(x.shape[1], x)[None]
        column = self.covariance(old.x, here, old.lengths)
        short = (old.root @ column)[..., 0]
        pivot = do.sqrt(do.at_least(1 + self.offset + self.noise - do.sum(short * short, -1), self.noise))
        rows = old.roomy()
        row = rows[:, :, num]
        row[..., :size] = self.covariance(here, points, old.lengths)[:, :, 0]
        row[..., size] = y[:, None]
        row[..., size + 1] = 1.0
        row[..., size + 3 + num] = 1.0
        row -= (short[:, :, None] @ rows[:, :, :num])[:, :, 0]
        row /= pivot[..., None]
        row[..., size + 2] = 1.0
        v, a, b = row[..., :size], row[..., size : size + 1], row[..., size + 1 : size + 2]
        return Beliefs(
            x=do.concat([old.x, here], 1),
            y=do.concat([old.y, y[:, None]], 1),
            first=first,
            lengths=old.lengths,
            rows=rows,
            log_det=old.log_det + do.log(pivot),
            vv=old.vv + v * v,
            va=old.va + v * a,
            vb=old.vb + v * b,
        )

    def standard(self, beliefs: Beliefs) -> tuple[Array, Array]:
        """Mean (less the first value) and spread of the values, ``(L,)``; a spread of 0 is none."""
        y, do = beliefs.y, operations(beliefs.y)
        if self.known:
            return 0 * beliefs.first, 0 * beliefs.first + 1
        centre = do.sum(y, 1) / y.shape[1]
        from_it = y - centre[:, None]
        return centre, do.sqrt(do.sum(from_it * from_it, 1) / y.shape[1])

    def posterior(self, beliefs: Beliefs, at: Array) -> tuple[Array, Array, Array, Array]:
        """Mean and standard deviation of f at ``at (L, C, d)``, ``(L, G, C)``, in the unit of y less the first value.

        Then log weights ``(L, G)`` and the amplitude ``(L, G)``, in units of the spread.
        """
        fit = _Fit.of(self, beliefs)
        mean, sd = self._at(beliefs.x, fit, at)
        unit = fit.unit[:, None, None]
        return mean * unit + fit.centre[:, None, None], sd * unit, fit.log_weights, fit.amplitude

    def _at(self, x: Array, fit: _Fit, at: Array) -> tuple[Array, Array]:
        v = fit.root @ self.covariance(x, at, fit.lengths)
        return (fit.a[:, :, None] @ v)[:, :, 0], self._sd(fit, operations(v).sum(v * v, -2))

    def _sd(self, fit: _Fit, explained: Array) -> Array:
        do = operations(explained)
        return fit.amplitude[..., None] * do.sqrt(do.at_least(1 + self.offset - explained, 1e-2 * JITTER))

    def propose(self, beliefs: Beliefs) -> Proposal:
        """The largest expected improvement on the candidates, around the best query, and around those."""
        fit, x, do = _Fit.of(self, beliefs), beliefs.x, operations(beliefs.x)
        dim = x.shape[-1]
        points, (around, near) = candidates_like(dim, x), offsets_like(dim, x)
        unit = do.where(fit.unit > 0, fit.unit, 1.0)[:, None, None]
        mean = (fit.va - fit.centre[:, None, None] * fit.vb) / unit
        each = do.zeros((len(x), 1, 1), x)
        found = self._best_of(fit, points + each, mean, self._sd(fit, fit.vv))
        best = x[fit.each, beliefs.y.argmin(1)][:, None]
        radius = 0.5 * len(points) ** (-1 / dim) if dim > 1 else 1 / (len(points) - 1)
        for number in range(2 if dim == 1 else 3):
            some = found[0][:, None] + radius * near
            some = do.at_most(do.at_least(some if number else do.concat([some, best + around], 1), 0), 1)
            other = self._best_of(fit, some, *self._at(x, fit, some))
            better = other[1] > (1 + TIE) * found[1]
            pairs = zip((better[:, None], better, better), other, found, strict=True)
            found = tuple(do.where(*parts) for parts in pairs)
            radius *= 0.25 if dim == 1 else 0.4
        return Proposal(found[0], found[1] * fit.unit, fit.unit, fit.centre, fit.log_weights, found[2])

    def _best_of(self, fit: _Fit, at: Array, mean: Array, sd: Array) -> tuple[Array, ...]:
        """Of ``at (L, C, d)`` the point, its expected improvement and z, ``(L,)``; of equals the first."""
        ratio = (fit.best[:, None, None] - mean) / sd
        gains = (fit.weights[:, None] @ (sd * operations(sd).at_least(_h(ratio), 0)))[:, 0]
        nearly = (1 - TIE) * operations(gains).highest(gains, 1)[:, None]
        each, index = fit.each, (1.0 * (gains >= nearly)).argmax(1)
        return at[each, index], gains[each, index], operations(sd).sum(fit.weights * ratio[each, :, index], 1)


class _Fit(NamedTuple):
    """What of the beliefs depends on all values at once: see ``Surrogate``; standardised, but for unit and centre.

    What has G is of the likeliest length-scale alone, G = 1, if that alone is asked; all but ``log_weights``.

    :ivar each: 0..L-1, for the first index.
    """

    root: Array
    lengths: Array
    va: Array
    vb: Array
    vv: Array
    a: Array
    amplitude: Array
    weights: Array
    best: Array
    log_weights: Array
    unit: Array
    centre: Array
    each: Array

    @classmethod
    def of(cls, surrogate: Surrogate, beliefs: Beliefs) -> _Fit:
        do = operations(beliefs.y)
        centre, unit = surrogate.standard(beliefs)
        divisor = do.where(unit > 0, unit, 1.0)
        a = (beliefs.of_values(0) - centre[:, None, None] * beliefs.of_values(1)) / divisor[:, None, None]
        best = (do.lowest(beliefs.y, 1) - centre) / divisor
        square = do.sum(a * a, -1)
        if surrogate.known:
            amplitude, log_weights = 0 * square + 1, -beliefs.log_det - 0.5 * square
        else:
            total, spent = PSEUDO_VALUES + beliefs.num, PSEUDO_VALUES + square
            amplitude, log_weights = do.sqrt(spent / total), -beliefs.log_det - 0.5 * total * do.log(spent)
        likeliest = log_weights.argmax(-1)
        each = do.arange(len(likeliest), likeliest)
        log_weights = log_weights - log_weights[each, likeliest][:, None]
        of_group = (beliefs.root, beliefs.lengths, beliefs.va, beliefs.vb, beliefs.vv, a, amplitude)
        if surrogate.best_alone:
            log_weights = do.where(log_weights < 0, -math.inf, log_weights)
            of_group = tuple(part[each, likeliest][:, None] for part in of_group)
            return cls(*of_group, 0 * of_group[-1] + 1, best, log_weights, unit, centre, each)
        weights = do.exp(log_weights)
        total = do.sum(weights, -1)[:, None]
        return cls(*of_group, weights / total, best, log_weights - do.log(total), unit, centre, each)
