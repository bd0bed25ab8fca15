"""The classical directions at theta_t that the subspace rule mixes, and their units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from probact.rules.base import SMALL
from probact.rules.lbfgs import Curvature
from probact.rules.subspace import signals
from probact.rules.subspace.memory import DECAYS, NUM_DIRECTIONS, NUM_GRADIENTS, PATHS, DirectionMemory
from probact.rules.subspace.signals import Products, dots
from probact.rules.subspace.trust import LEAST_LENGTHS, Trust
from probact.rules.subspace.whitening import whiten

_MEANS = slice(1, 1 + len(DECAYS))
_ADAM, _WHITENED, _NEWTON, _STEP = range(_MEANS.stop, NUM_DIRECTIONS - len(PATHS) - 1)
_TO_MEANS = slice(_STEP + 1, -1)
_BETA2 = 0.98
GRAIN = 2.0**-46
"""The grain of single precision, squared: a pair of less, in the unit of the loss, may be rounding in both."""


def take_in(
    memory: DirectionMemory,
    grad: Tensor,
    loss: Tensor,
    flat: Tensor,
    shapes: Sequence[torch.Size],
    first_share: float,
    backtrack: float,
) -> tuple[DirectionMemory, Tensor]:
    """The memory with loss ``(L,)`` and gradient ``(L, d)`` at ``flat`` taken in, and ``SIGNALS``, ``(L, M, 12)``.

    :param shapes: of the M tensors.
    """
    split = [shape.numel() for shape in shapes]
    step, last = memory.update, memory.basis[:, 0]
    products = Products.of(step, grad, last, split)
    now = memory.trust.take_in(loss, grad, flat.norm(dim=-1), first_share, backtrack)
    curvature = memory.curvature.add(step, grad - last, GRAIN) if memory.curvature.steps.shape[1] else memory.curvature
    square = memory.square.lerp(grad.square(), 1 - _BETA2)
    taken_in = memory._replace(
        basis=_basis(memory, grad, square, curvature, now, shapes),
        square=square,
        curvature=curvature,
        log_rate=_log_rate(memory.log_rate, products, loss, now, first_share),
        sizes=_sizes(flat, split),
        mean_loss=torch.where(now.num_seen == 1, loss, memory.mean_loss.lerp(loss, 0.1)),
        trust=now,
    )
    return taken_in, signals.measure(memory, taken_in, products)


def _log_rate(old: Tensor, products: Products, loss: Tensor, now: Trust, first_share: float) -> Tensor:
    """Log of the rate ``(L, M)``: the Polyak step's share first, but for a loss near 0, then Barzilai-Borwein's.

    After the first step the measurement itself, later a step towards it of at most a factor of e^1.5.
    """
    least = LEAST_LENGTHS * now.size * products.whole_grad.sqrt()
    polyak = torch.log((torch.maximum(loss.abs(), least) + SMALL) / (products.whole_grad + SMALL)).unsqueeze(-1)
    measured = torch.log(products.step_change.abs() + SMALL) - torch.log(products.change_change + SMALL)
    count = now.num_seen.unsqueeze(-1)
    followed = torch.where(count == 2, measured, old + (measured - old).clamp(-1.5, 1.5))
    return torch.where(
        count == 1, polyak + math.log(first_share), torch.where(products.step_change == 0, old, followed)
    )


def _sizes(flat: Tensor, split: list[int]) -> Tensor:
    """Length of each tensor, ``(L, M)``; one that starts at zero counts as a tenth of its coordinates' share."""
    sizes = dots(flat, flat, split).sqrt()
    share = torch.tensor(split, device=flat.device).to(flat.dtype).div(flat.shape[1]).sqrt()
    return torch.maximum(sizes, 0.1 * share * sizes.norm(dim=-1, keepdim=True)) + SMALL


def _basis(
    memory: DirectionMemory,
    grad: Tensor,
    square: Tensor,
    curvature: Curvature,
    now: Trust,
    shapes: Sequence[torch.Size],
) -> Tensor:
    """``DIRECTIONS`` at theta_t, ``(L, B, d)``."""
    split = [shape.numel() for shape in shapes]
    basis = torch.empty_like(memory.basis)
    basis[:, 0] = grad
    decays = grad.new_tensor(DECAYS).view(1, -1, 1)
    torch.lerp(memory.basis[:, _MEANS], grad.unsqueeze(1), 1 - decays, out=basis[:, _MEANS])
    momentum = basis[:, _MEANS.start + 1]
    root = (square / (1 - _BETA2 ** now.num_seen.unsqueeze(-1))).sqrt()
    torch.div(momentum, root + 1e-12, out=basis[:, _ADAM])
    for shape, part, out in zip(shapes, momentum.split(split, -1), basis[:, _WHITENED].split(split, -1), strict=True):
        out.copy_(whiten(part.unflatten(-1, shape)).flatten(1))
    known = (curvature.scale > 0).unsqueeze(-1)
    basis[:, _NEWTON] = torch.where(known, now.cap(curvature.solve(grad)), grad)
    basis[:, _STEP] = memory.update
    basis[:, _TO_MEANS] = memory.to_means
    basis[:, -1] = now.to_best
    return basis


def units(memory: DirectionMemory, length: Tensor) -> tuple[Tensor, Tensor]:
    """What turns the directions of ``length (L, M, B)`` into steps.

    The first, ``(L, M, B)``: the Barzilai-Borwein step along gradients, those made as long as the gradient; 1 for the
    others.  The second, ``(L, M, G)``: a tenth of theta_m's length along gradients.
    """
    gradient = length[..., :NUM_GRADIENTS]
    rate = memory.log_rate.exp().unsqueeze(-1) * (gradient[..., :1] / (gradient + SMALL))
    decays = length.new_tensor((0.0, *DECAYS))
    correction = 1 / (1 - decays ** memory.trust.num_seen.view(-1, 1, 1))
    natural = memory.log_rate.exp().unsqueeze(-1) * correction
    rate = torch.cat([natural, rate[..., correction.shape[-1] :]], -1)
    rate = torch.where(gradient > 0, rate, 0.0)
    one = torch.ones_like(length[..., :1])
    newton = torch.where((memory.curvature.scale > 0).view(-1, 1, 1), one, rate[..., :1])
    relative = torch.where(gradient > 0, 0.1 * memory.sizes.unsqueeze(-1) / (gradient + SMALL), 0.0)
    return torch.cat([rate, newton, *[one] * (2 + len(PATHS))], -1), relative
