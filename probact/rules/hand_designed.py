"""Hand-designed rules: the formulas of ``torch.optim``, batched over problems and of the learned rule's own type."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from probact.rules.base import RULES, Step, UpdateRule
from probact.support.randomness import BITS, uniform_bits
from probact.support.refusals import check_range
from probact.support.trees import Params, State, map_params


class HandDesigned(UpdateRule):
    """A rule with a learning rate ``lr`` and nothing to train.  Tells the halting posterior nothing of its own.

    :raises ValueError: if ``lr`` is not positive.
    """

    learning_rates: ClassVar[tuple[float, ...]] = tuple(
        float(f"{m}e{e}") for e in (-3, -2, -1, 0) for m in (1, 1.5, 2, 3, 4, 5, 7)
    )
    """Where tuning looks for ``lr``."""
    usual: ClassVar[bool] = True
    """Whether ``evaluate`` takes it unasked, as its rates for all families come with the package."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        check_range(self.label, above=0, lr=lr)
        self.lr = lr

    def init(self, params: Params) -> State:
        return ()

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        update, state = self.update(grads, state, params)
        return Step(update, state, loss.new_empty(len(loss), 0))

    @abstractmethod
    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        """The update and the next state."""


def hand_designed() -> dict[str, type[HandDesigned]]:
    """Name -> class of all rules that have a learning rate and no weights."""
    return {name: rule for name in RULES if issubclass(rule := RULES[name], HandDesigned)}


@RULES.register("sgd")
class SGD(HandDesigned):
    """Gradient descent, -lr g."""

    def __init__(self, lr: float = 0.05) -> None:
        super().__init__(lr)

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        return map_params(lambda g: -self.lr * g, grads), state


@RULES.register("momentum")
class Momentum(HandDesigned):
    """Heavy ball: velocity <- momentum velocity + g, -lr velocity (Polyak 1964)."""

    def __init__(self, lr: float = 0.05, momentum: float = 0.9) -> None:
        super().__init__(lr)
        check_range(self.label, at_least=0, below=1, momentum=momentum)
        self.momentum = momentum

    def init(self, params: Params) -> State:
        return map_params(torch.zeros_like, params)

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        velocity = map_params(lambda v, g: self.momentum * v + g, state, grads)
        return self.direction(velocity, grads), velocity

    def direction(self, velocity: Params, grads: Params) -> Params:
        return map_params(lambda v: -self.lr * v, velocity)


@RULES.register("nag")
class NAG(Momentum):
    """Nesterov's gradient: as ``momentum``, but -lr (g + momentum velocity) (Nesterov 1983; Sutskever et al. 2013)."""

    def __init__(self, lr: float = 0.03, momentum: float = 0.9) -> None:
        super().__init__(lr, momentum)

    def direction(self, velocity: Params, grads: Params) -> Params:
        return map_params(lambda v, g: -self.lr * (g + self.momentum * v), velocity, grads)


@RULES.register("rmsprop")
class RMSprop(HandDesigned):
    """square <- alpha square + (1 - alpha) g^2, -lr g / (sqrt(square) + eps) (Tieleman and Hinton 2012)."""

    def __init__(self, lr: float = 0.02, alpha: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(lr)
        check_range(self.label, at_least=0, below=1, alpha=alpha)
        check_range(self.label, above=0, eps=eps)
        self.alpha = alpha
        self.eps = eps

    def init(self, params: Params) -> State:
        return map_params(torch.zeros_like, params)

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        square = map_params(lambda s, g: self.alpha * s + (1 - self.alpha) * g * g, state, grads)
        return map_params(lambda g, s: -self.lr * g / (s.sqrt() + self.eps), grads, square), square


@RULES.register("adam")
class Adam(HandDesigned):
    """Bias-corrected first moment over root second moment (Kingma and Ba 2015, algorithm 1)."""

    def __init__(self, lr: float = 0.1, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__(lr)
        check_range(self.label, at_least=0, below=1, beta1=beta1, beta2=beta2)
        check_range(self.label, above=0, eps=eps)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def init(self, params: Params) -> State:
        num, device = len(next(iter(params.values()))), next(iter(params.values())).device
        zeros = map_params(torch.zeros_like, params)
        return zeros, zeros, torch.zeros(num, dtype=torch.long, device=device)

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        first, second, count = state
        count = count + 1
        first = map_params(lambda m, g: self.beta1 * m + (1 - self.beta1) * g, first, grads)
        second = map_params(lambda v, g: self.beta2 * v + (1 - self.beta2) * g * g, second, grads)

        def direction(m: Tensor, v: Tensor) -> Tensor:
            steps = count.reshape(-1, *(1,) * (m.dim() - 1)).to(torch.float64)
            correction1 = (1 - self.beta1**steps).to(m.dtype)
            correction2 = (1 - self.beta2**steps).to(m.dtype)
            return -self.lr / correction1 * m / ((v / correction2).sqrt() + self.eps)

        return map_params(direction, first, second), (first, second, count)


@RULES.register("adamw")
class AdamW(Adam):
    """Adam with decoupled weight decay: -lr decay theta beside its step (Loshchilov and Hutter 2019, algorithm 2)."""

    def __init__(
        self,
        lr: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, beta1, beta2, eps)
        check_range(self.label, at_least=0, weight_decay=weight_decay)
        self.weight_decay = weight_decay

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        step, state = super().update(grads, state, params)
        return map_params(lambda s, theta: s - self.lr * self.weight_decay * theta, step, params), state


class SignAgreement(HandDesigned):
    """Rules that scale the gradient by whether its sign agrees with that of its running mean m (decay ``beta``)."""

    def __init__(self, lr: float, beta: float = 0.9) -> None:
        super().__init__(lr)
        check_range(self.label, at_least=0, below=1, beta=beta)
        self.beta = beta

    def init(self, params: Params) -> State:
        return map_params(torch.zeros_like, params)

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        mean = map_params(lambda m, g: self.beta * m + (1 - self.beta) * g, state, grads)
        return map_params(lambda g, m: -self.lr * self.scale(g, g.sign() * m.sign()) * g, grads, mean), mean

    @abstractmethod
    def scale(self, grad: Tensor, agreement: Tensor) -> Tensor:
        """Factor of the gradient; ``agreement`` is sign(g) sign(m) in {-1, 0, 1}."""


@RULES.register("powersign")
class PowerSign(SignAgreement):
    """e^{sign(g) sign(m)} g: e times the gradient where signs agree, 1/e where not (Bello et al. 2017)."""

    def __init__(self, lr: float = 0.02, beta: float = 0.9) -> None:
        super().__init__(lr, beta)

    def scale(self, grad: Tensor, agreement: Tensor) -> Tensor:
        return agreement.exp()


@RULES.register("addsign")
class AddSign(SignAgreement):
    """(1 + sign(g) sign(m)) g: twice the gradient where signs agree, nothing where not (Bello et al. 2017)."""

    def __init__(self, lr: float = 0.03, beta: float = 0.9) -> None:
        super().__init__(lr, beta)

    def scale(self, grad: Tensor, agreement: Tensor) -> Tensor:
        return 1 + agreement


@RULES.register("clipsign")
class ClipSign(SignAgreement):
    """(e^{sign(g) sign(m)} + clip(g, 1e-4)) g, the winner of Neural Optimizer Search's Figure 7 (Bello et al. 2017)."""

    def __init__(self, lr: float = 0.02, beta: float = 0.9, clip: float = 1e-4) -> None:
        super().__init__(lr, beta)
        check_range(self.label, at_least=0, clip=clip)
        self.clip = clip

    def scale(self, grad: Tensor, agreement: Tensor) -> Tensor:
        return agreement.exp() + grad.clamp(-self.clip, self.clip)


@RULES.register("adamsign")
class AdamSign(Adam):
    """Adam's step times e^{sign(g) sign(m)}, m Adam's first moment (Bello et al. 2017)."""

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        step, state = super().update(grads, state, params)
        agreement = map_params(lambda g, m: (g.sign() * m.sign()).exp(), grads, state[0])
        return map_params(torch.mul, step, agreement), state


@RULES.register("dropsign")
class DropSign(HandDesigned):
    """drop(g) e^{sign(g) sign(m)}: PowerSign with gradient entries left out with probability ``drop``.

    Which entries is a function of step and coordinate alone, the same for every problem (Bello et al. 2017).
    """

    def __init__(self, lr: float = 0.02, beta: float = 0.9, drop: float = 0.1) -> None:
        super().__init__(lr)
        check_range(self.label, at_least=0, below=1, beta=beta, drop=drop)
        self.beta = beta
        self.drop = drop

    def init(self, params: Params) -> State:
        first = next(iter(params.values()))
        return map_params(torch.zeros_like, params), torch.zeros(len(first), dtype=torch.long, device=first.device)

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        mean, count = state
        mean = map_params(lambda m, g: self.beta * m + (1 - self.beta) * g, mean, grads)

        def direction(g: Tensor, m: Tensor) -> Tensor:
            coordinate = torch.arange(g[0].numel(), device=g.device)
            kept = uniform_bits(coordinate, count.unsqueeze(-1)) >= self.drop * 2**BITS
            return -self.lr * (g.sign() * m.sign()).exp() * g * kept.view_as(g)

        return map_params(direction, grads, mean), (mean, count + 1)
