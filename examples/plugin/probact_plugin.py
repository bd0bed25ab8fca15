"""One part of each kind: classes of a project of its own, which ``pyproject.toml`` makes known to probact by name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import probact
from probact.inference.objectives.estimators import Sample


@dataclass(frozen=True)
class Valley(probact.Optimizee):
    """nll = sum log cosh(W (theta - c)), for ``design`` W ``(L, d, d)`` and ``centre`` c ``(L, d)``."""

    design: Tensor
    centre: Tensor

    def nll(self, params: probact.Params) -> Tensor:
        residual = torch.einsum("lij,lj->li", self.design, params["theta"] - self.centre)
        return (residual.abs() + torch.log1p(torch.exp(-2 * residual.abs())) - math.log(2)).sum(-1)

    def optimum(self) -> Tensor:
        return torch.zeros(len(self.centre)).to(self.centre)


class Valleys(probact.OptimizeeFamily):
    """Smooth valleys with straight walls, in ``dim`` dimensions."""

    recommended: ClassVar = {"horizon": 40, "prior_nu": 0.9}

    def __init__(self, dim: int = 5) -> None:
        self.dim = dim

    def sample(self, num: int, generator: torch.Generator) -> probact.Optimizee:
        shapes = (num, self.dim), (num, self.dim, self.dim), (num, self.dim)
        theta0, design, centre = (torch.randn(shape, generator=generator) for shape in shapes)
        return Valley({"theta": theta0}, design, centre)


class HeavyBall(probact.UpdateRule):
    """Momentum whose rate and decay are learned, in two weights."""

    def __init__(self, lr: float = 0.03) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(torch.tensor(lr).log())
        self.decay = nn.Parameter(torch.tensor(2.0))

    def init(self, params: probact.Params) -> probact.State:
        return {name: torch.zeros_like(tensor) for name, tensor in params.items()}

    def step(self, grads: probact.Params, state: probact.State, params: probact.Params, loss: Tensor) -> probact.Step:
        speed = {name: self.decay.sigmoid() * state[name] + grad for name, grad in grads.items()}
        update = {name: -self.log_rate.exp() * tensor for name, tensor in speed.items()}
        return probact.Step(update, speed, loss.new_zeros(len(loss), 0))


class Clock(probact.Sequential):
    """A clock that ticks at the rate e^logit: hazard 1 - exp(-e^logit)."""

    @staticmethod
    def initial_bias(nu: float) -> float:
        return math.log(-math.log(nu))

    @staticmethod
    def hazard(logit: Tensor, halted: Tensor) -> Tensor:
        return -torch.expm1(-logit.clamp(-50, 50).exp())

    def log_mass(self) -> tuple[Tensor, Tensor]:
        ticks = self.logits.clamp(-50, 50).exp()
        left = -torch.cat([torch.zeros_like(ticks[:1]), ticks[:-1].cumsum(0)])
        return left + torch.log(-torch.expm1(-ticks)), left


class Discounted(probact.Objective):
    """sum_t gamma^(H - t) nll(theta_t): the later a step, the more it counts."""

    def __init__(self, *parts: Any, gamma: float = 0.9, log_loss_weight: float = 0.0, **more: Any) -> None:
        super().__init__(*parts, log_loss_weight=log_loss_weight, **more)
        self.gamma = gamma

    def losses(self, rollout: probact.Rollout, anneal: float = 1.0) -> Tensor:
        age = torch.arange(len(rollout.nll) - 2, -1, -1).to(rollout.nll)
        return (self.gamma**age) @ rollout.nll[1:]


class Stratified(Sample):
    """T drawn for each problem, one from each L-th of the prior's mass: less variance than ``sample``."""

    def draw_horizon(self, prior: probact.Prior, num: int, generator: torch.Generator | None) -> Tensor:
        mass = prior.log_horizon().exp().cumsum(0)
        uniform = (torch.randperm(num, generator=generator) + torch.rand(num, generator=generator)) / num
        return 1 + torch.searchsorted(mass, uniform.to(mass) * mass[-1])


class TwoLengths(probact.HorizonPrior):
    """Horizons of about 10 or about ``longer`` steps, half of them each before they are capped."""

    def __init__(self, longer: float = 40.0) -> None:
        self.longer = longer

    def log_mass(self, nu: Tensor, T: Tensor, halting: probact.HaltingPrior) -> Tensor:
        about = [-0.5 * ((T - mean) / (0.2 * mean)) ** 2 - math.log(mean) for mean in (10, self.longer)]
        return torch.logaddexp(*about) + torch.zeros_like(nu)


class Late(probact.HaltingPrior):
    """The later a step up to T, the likelier."""

    def log_mass(self, nu: Tensor, t: Tensor) -> Tensor:
        return torch.log(t) + torch.zeros_like(nu)


class Slope(probact.StopRule):
    """Running mean of what a step gains, in nats: stop when it falls below a price; the threshold is minus that."""

    default = -0.05

    def init(self, like: Tensor) -> Any:
        return like, torch.full_like(like, 1.0)

    def score(self, known: probact.Known, memory: Any) -> tuple[Tensor, Any]:
        before, gain = memory
        gain = 0.8 * gain + 0.2 * (before - known.loss).clamp(-1e6, 1e6).nan_to_num(0.0)
        return -gain, (known.loss, gain)
