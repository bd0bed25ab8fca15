"""What no first-order method can beat: a reference for the tables, not a rule (it is told the curvature)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from probact.optimizees.base import Optimizee, flatten, unflatten, value_and_grad


def conjugate_gradient(optimizee: Optimizee, num_steps: int) -> Tensor:
    """nll after 0..``num_steps`` steps of conjugate gradients with exact line search, ``(num_steps + 1, L)``.

    The smallest nll in the Krylov space of the gradients, so no method that moves in their span is below it
    (Hestenes and Stiefel 1952).  A Hessian product is the difference of two gradients, exact where nll is quadratic.

    :raises ValueError: if the nll is not quadratic.
    """
    if not optimizee.quadratic:
        raise ValueError("conjugate gradients with exact line search: expected a family whose loss is quadratic")
    optimizee = optimizee.to(torch.float64)
    theta = flatten(optimizee.init)

    def gradient(at: Tensor) -> tuple[Tensor, Tensor]:
        nll, grads = value_and_grad(optimizee.nll, unflatten(at, optimizee.init))
        return nll, flatten(grads)

    at_zero = gradient(torch.zeros_like(theta))[1]
    nll, grad = gradient(theta)
    losses, direction = [nll], -grad
    for _ in range(num_steps):
        product = gradient(direction)[1] - at_zero
        curvature = (direction * product).sum(-1, keepdim=True)
        slope = (grad * direction).sum(-1, keepdim=True)
        # Once converged both are rounding: stay.
        step = torch.where(curvature > 1e-300, -slope / curvature.clamp_min(1e-300), 0.0)
        moved = theta + step.clamp(-1e6, 1e6) * direction
        nll, new_grad = gradient(moved)
        better = (nll <= losses[-1]).unsqueeze(-1)
        theta, nll = torch.where(better, moved, theta), torch.minimum(nll, losses[-1])
        ratio = new_grad.square().sum(-1, keepdim=True) / grad.square().sum(-1, keepdim=True).clamp_min(1e-300)
        direction = torch.where(better, -new_grad + ratio * direction, -grad)
        grad = torch.where(better, new_grad, grad)
        losses.append(torch.where(nll.isfinite(), nll, math.inf))
    return torch.stack(losses)
