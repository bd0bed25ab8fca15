"""Functions drawn from Gaussian processes, to be searched for their minimum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from probact.problems.base import FAMILIES
from probact.problems.black_box import Regret, RegretFamily
from probact.support.kernels import check_kernel, correlation
from probact.support.refusals import check_range
from probact.support.trees import Params

NUM_WAVES = 256
"""M."""
NUM_NOISES = 256
"""Noises of a function; query number 257 sees the first one again."""
CHUNK = 128
Waves = tuple[Tensor, Tensor, Tensor]
"""Frequencies ``(L, M, d)``, phases and amplitudes ``(L, M)``."""


def waves_at(waves: Waves, x: Tensor) -> Tensor:
    """f(x) = sum_m a_m cos(w_m . x + b_m), ``(L, C)`` at ``x (L, C, d)``."""
    frequencies, phases, amplitudes = waves
    angles = x @ frequencies.transpose(-1, -2) + phases.unsqueeze(1)
    return (angles.cos() @ amplitudes.unsqueeze(-1)).squeeze(-1)


def slopes_at(waves: Waves, x: Tensor) -> Tensor:
    """Gradient of ``waves_at``, ``(L, C, d)``."""
    frequencies, phases, amplitudes = waves
    angles = x @ frequencies.transpose(-1, -2) + phases.unsqueeze(1)
    return -(angles.sin() * amplitudes.unsqueeze(1)) @ frequencies


@dataclass(frozen=True)
class Draws(Regret):
    """f(x) = sqrt(2/M) sum_m a_m cos(w_m . x / l + b_m) on [0, 1]^d; theta is ``x (L, d)``.

    Random features of a stationary kernel of variance 1 (Rahimi and Recht 2007): w is drawn from its spectral density,
    a ~ N(0, 1) and b ~ U[0, 2 pi].

    :ivar frequencies: w / l, ``(L, M, d)``; ``phases``, ``amplitudes``: b and sqrt(2/M) a, ``(L, M)``.
    :ivar kernel: its name; ``length``: l, ``(L,)``; ``noise``: of each query, ``(L, 256)``, or ``(L, 0)`` for none.
    """

    frequencies: Tensor
    phases: Tensor
    amplitudes: Tensor
    length: Tensor
    noise: Tensor
    kernel: str

    def given(self) -> Params:
        return {"price": self.price, "length": self.length}

    def value(self, params: Params) -> Tensor:
        return waves_at((self.frequencies, self.phases, self.amplitudes), params["x"].unsqueeze(1)).squeeze(1)

    def covariance(self, params: Params) -> Tensor:
        x = params["x"].transpose(0, 1) / self.length.view(-1, 1, 1)
        squares = (x.unsqueeze(2) - x.unsqueeze(1)).square().sum(-1)
        return correlation(squares, self.kernel)

    def observe(self, value: Tensor, step: int) -> Tensor:
        return value + self.noise[:, step % NUM_NOISES] if self.noise.shape[1] else value


def lowest_of(waves: Waves) -> Tensor:
    """min f over [0, 1]^d, ``(L,)``, as well as it can be found.

    1-d: the best 4 of 400 points, then bisection of f' between their neighbours.  Else: the best 8 of 2,000 points,
    then 60 projected steps of Adam.
    """
    dim = waves[0].shape[-1]
    search = _lowest_on_line if dim == 1 else _lowest_in_box
    return torch.cat([search(part) for part in zip(*(tensor.split(CHUNK) for tensor in waves), strict=True)])


def _on_grid(waves: Waves) -> Tensor:
    """f at 400 points from 0 to 1, ``(L, 400)``: 20 x 20 of them by cos(u + v) = cos u cos v - sin u sin v."""
    frequencies, phases, amplitudes = waves
    w = frequencies.squeeze(-1).unsqueeze(1)
    fine = torch.arange(20, device=w.device).view(1, -1, 1) / 399.0
    u, v = w * (20 * fine) + phases.unsqueeze(1), w * fine
    real, imaginary = ((part * amplitudes.unsqueeze(1)) for part in (u.cos(), u.sin()))
    return (real @ v.cos().transpose(1, 2) - imaginary @ v.sin().transpose(1, 2)).flatten(1)


def _lowest_on_line(waves: Waves) -> Tensor:
    values = _on_grid(waves)
    centre = values.topk(4, largest=False).indices / 399.0
    low, high = ((centre + side / 399).clamp(0, 1).unsqueeze(-1) for side in (-1, 1))
    for _ in range(20):
        middle = (low + high) / 2
        rises = slopes_at(waves, middle) > 0
        low, high = torch.where(rises, low, middle), torch.where(rises, middle, high)
    return torch.minimum(waves_at(waves, (low + high) / 2).min(1).values, values.min(1).values)


def _lowest_in_box(waves: Waves) -> Tensor:
    num, _, dim = waves[0].shape
    points = torch.quasirandom.SobolEngine(dim, scramble=True, seed=0).draw(2000).to(waves[0])
    values = waves_at(waves, points.expand(num, -1, -1))
    x = points[values.topk(8, largest=False).indices]
    lowest, first, second = values.min(1).values, torch.zeros_like(x), torch.zeros_like(x)
    for step in range(1, 61):
        slope = slopes_at(waves, x)
        first, second = 0.8 * first + 0.2 * slope, 0.95 * second + 0.05 * slope.square()
        rate = 0.02 * (1 + math.cos(math.pi * step / 61)) / 2
        moved = first / (1 - 0.8**step) / ((second / (1 - 0.95**step)).sqrt() + 1e-8)
        x = (x - rate * moved).clamp(0, 1)
        lowest = torch.minimum(lowest, waves_at(waves, x).min(1).values)
    return lowest


def read_range(what: str, text: Any) -> tuple[float, float]:
    """``LOW:HIGH`` or one number, both positive.

    :raises ValueError: expected and got.
    """
    ends = str(text).split(":")
    try:
        low, high = (float(end) for end in (ends if len(ends) == 2 else ends * 2))
    except ValueError:
        raise ValueError(f"{what}: expected length LOW:HIGH or one number, got {text!r:.40}") from None
    check_range(what, above=0, below=1e3, length=low)
    check_range(what, at_least=low, below=1e3, length=high)
    return low, high


class GaussianProcesses(RegretFamily):
    """Functions on [0, 1]^d from a Gaussian process of variance 1 whose length-scale nobody is told.

    After Chen et al. 2017, section 3.

    :param length: of the kernel, log-uniform between the two ends, drawn for each function.
    :param kernel: ``rbf`` or ``matern52``; :param noise: its standard deviation, on y alone.
    :param spread: prices of a step are log-uniform within so large a factor of the price asked for.
    """

    dim: ClassVar[int]

    def __init__(self, length: str, kernel: str, noise: float, spread: float) -> None:
        self.lengths = read_range(self.label, length)
        check_kernel(self.label, kernel)
        check_range(self.label, at_least=0, below=1e6, noise=noise)
        check_range(self.label, at_least=1, below=1e6, spread=spread)
        self.kernel, self.noise, self.spread = kernel, noise, spread

    def sample(self, num: int, generator: torch.Generator) -> Draws:
        low, high = map(math.log, self.lengths)
        length = (low + (high - low) * torch.rand(num, generator=generator)).exp()
        w = torch.randn(num, NUM_WAVES, self.dim, generator=generator)
        if self.kernel == "matern52":  # spectral density: Student's t with 5 degrees of freedom
            w = w * (5 / torch.randn(num, NUM_WAVES, 5, generator=generator).square().sum(-1, keepdim=True)).sqrt()
        frequencies = w / length.view(-1, 1, 1)
        phases = 2 * math.pi * torch.rand(num, NUM_WAVES, generator=generator)
        amplitudes = (2 / NUM_WAVES) ** 0.5 * torch.randn(num, NUM_WAVES, generator=generator)
        noise = self.noise * torch.randn(num, NUM_NOISES if self.noise else 0, generator=generator)
        price, scale = self.prices(num, generator, self.spread)
        waves = frequencies, phases, amplitudes
        start = torch.full((num, self.dim), 0.5)
        return Draws({"x": start}, lowest_of(waves), price, scale, *waves, length, noise, self.kernel)


SEARCHED: dict[str, Any] = {
    "rule": "lstm-search",
    "prior_nu": 0.358,
    "kl_scale": 0.05,
    "horizon_prior": "flat",
    "halting_first": True,
    "truncate": 0,
    "meta_steps": 240,
    "batch": 128,
    "lr": 0.004,
}
"""Settings that suit a search: a step costs c = -kl_scale log nu = .0514 nats all along, also where H is small."""


@FAMILIES.register("gp-1d")
class Lines(GaussianProcesses):
    """Functions of 1 variable from Gaussian processes, seen by their values; nll = regret / s + log 2s."""

    dim = 1
    recommended: ClassVar[dict[str, Any]] = {**SEARCHED, "horizon": 20}

    def __init__(self, length: str = "0.05:0.5", kernel: str = "rbf", noise: float = 0.0, spread: float = 1.0) -> None:
        super().__init__(length, kernel, noise, spread)


@FAMILIES.register("gp-2d")
class Planes(GaussianProcesses):
    """Functions of 2 variables from Gaussian processes, seen by their values; nll = regret / s + log 2s."""

    dim = 2
    recommended: ClassVar[dict[str, Any]] = {**SEARCHED, "horizon": 30, "rule_options": {"dim": 2}}

    def __init__(self, length: str = "0.15:0.6", kernel: str = "rbf", noise: float = 0.0, spread: float = 1.0) -> None:
        super().__init__(length, kernel, noise, spread)


@FAMILIES.register("gp-3d")
class Spaces(GaussianProcesses):
    """Functions of 3 variables from Gaussian processes, seen by their values; nll = regret / s + log 2s."""

    dim = 3
    recommended: ClassVar[dict[str, Any]] = {**SEARCHED, "horizon": 40, "rule_options": {"dim": 3}}

    def __init__(self, length: str = "0.2:0.8", kernel: str = "rbf", noise: float = 0.0, spread: float = 1.0) -> None:
        super().__init__(length, kernel, noise, spread)


@FAMILIES.register("gp-6d")
class Boxes(GaussianProcesses):
    """Functions of 6 variables from Gaussian processes, seen by their values; nll = regret / s + log 2s."""

    dim = 6
    recommended: ClassVar[dict[str, Any]] = {**SEARCHED, "horizon": 60, "rule_options": {"dim": 6}}

    def __init__(self, length: str = "0.3:1.2", kernel: str = "rbf", noise: float = 0.0, spread: float = 1.0) -> None:
        super().__init__(length, kernel, noise, spread)
