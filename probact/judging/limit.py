"""What no first-order method can beat: a reference for the tables, not a rule (it is told the curvature)."""

from __future__ import annotations

import torch
from torch import Tensor

from probact.problems.base import Optimizee, value_and_grad
from probact.support.trees import flatten, unflatten

CONVERGED = 1e-6
"""Share of the first gradient's norm at which a problem is solved; below it lie the rounding errors of its data, whose
tiny curvatures a rank-deficient design would let one follow very far."""


def conjugate_gradient(optimizee: Optimizee, num_steps: int) -> Tensor:
    """nll after 0..``num_steps`` steps of conjugate gradients with exact line search, ``(num_steps + 1, L)``.

    The smallest nll in the Krylov space of the gradients, so no method that moves in their span is below it
    (Hestenes and Stiefel 1952).  A Hessian product is the difference of two gradients, exact where nll is quadratic.

    :raises ValueError: if the nll is not quadratic.
    """
    if not optimizee.quadratic:
        raise ValueError("conjugate gradients with exact line search: expected a family whose loss is quadratic")
    optimizee = optimizee.to(torch.float64)
    theta = flatten(optimizee.theta0)

    def gradient(at: Tensor) -> tuple[Tensor, Tensor]:
        nll, grads = value_and_grad(optimizee.nll, unflatten(at, optimizee.theta0))
        return nll, flatten(grads)

    at_zero = gradient(torch.zeros_like(theta))[1]
    nll, grad = gradient(theta)
    losses, direction = [nll], -grad
    smallest = CONVERGED**2 * grad.square().sum(-1, keepdim=True)
    for _ in range(num_steps):
        product = gradient(direction)[1] - at_zero
        curvature = (direction * product).sum(-1, keepdim=True)
        going = (grad.square().sum(-1, keepdim=True) > smallest) & (curvature > 0)
        step = torch.where(going, -(grad * direction).sum(-1, keepdim=True) / curvature, 0.0)
        theta = theta + step * direction
        nll, new_grad = gradient(theta)
        ratio = new_grad.square().sum(-1, keepdim=True) / grad.square().sum(-1, keepdim=True).clamp_min(1e-300)
        grad, direction = new_grad, -new_grad + torch.where(going, ratio, 0.0) * direction
        losses.append(nll)
    return torch.stack(losses)
