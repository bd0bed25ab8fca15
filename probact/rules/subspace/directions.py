"""The classical directions at theta_t that the subspace rule mixes, and what is known of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.lbfgs import Curvature
from probact.rules.subspace import trust
from probact.rules.subspace.trust import Trust
from probact.rules.subspace.whitening import whiten

DECAYS = (0.5, 0.9, 0.98)
"""Decays of the running means of the gradient."""
PATHS = (0.9, 0.98)
"""Decays of the running means of theta (Polyak and Juditsky 1992)."""
GRADIENTS = ("gradient", *(f"mean {decay}" for decay in DECAYS), "adam", "whitened")
"""Directions that know no length: they need a unit."""
DIRECTIONS = (*GRADIENTS, "l-bfgs", "last step", *(f"to the mean {decay}" for decay in PATHS), "to the best")
NUM_GRADIENTS, NUM_DIRECTIONS = len(GRADIENTS), len(DIRECTIONS)
_MEANS = slice(1, 1 + len(DECAYS))
_ADAM, _WHITENED, _NEWTON, _STEP = range(_MEANS.stop, NUM_DIRECTIONS - len(PATHS) - 1)
_TO_MEANS = slice(_STEP + 1, -1)
_BETA2 = 0.98
_SMALL = 1e-30
NUM_SIGNALS = 12


class DirectionMemory(NamedTuple):
    """What the directions are made of, without graph; M tensors a problem, d coordinates in all.

    :ivar basis: the directions at the last theta, ``(L, B, d)``; the means without their correction for the start.
    :ivar update: the last step, ``(L, d)``.
    :ivar to_means: the running means of theta less theta, ``(L, 2, d)``.
    :ivar square: running mean of g^2, ``(L, d)``.
    :ivar curvature: the pairs of L-BFGS.
    :ivar log_rate: log of the Barzilai-Borwein step, ``(L, M)``.
    :ivar sizes: length of theta_m, ``(L, M)``.
    :ivar mean_loss: running mean of the loss, ``(L,)``.
    :ivar trust: what keeps from harm.
    """

    basis: Tensor
    update: Tensor
    to_means: Tensor
    square: Tensor
    curvature: Curvature
    log_rate: Tensor
    sizes: Tensor
    mean_loss: Tensor
    trust: Trust


def init(flat: Tensor, num_tensors: int, pairs: int) -> DirectionMemory:
    """Before the first gradient, at parameters ``flat (L, d)``."""
    num, dimension = flat.shape
    return DirectionMemory(
        basis=flat.new_zeros(num, NUM_DIRECTIONS, dimension),
        update=torch.zeros_like(flat),
        to_means=flat.new_zeros(num, len(PATHS), dimension),
        square=torch.zeros_like(flat),
        curvature=Curvature.init(flat, pairs),
        log_rate=flat.new_zeros(num, num_tensors),
        sizes=flat.new_zeros(num, num_tensors),
        mean_loss=flat.new_zeros(num),
        trust=trust.init(flat),
    )


def moved(memory: DirectionMemory, update: Tensor) -> DirectionMemory:
    """After the step ``update (L, d)``."""
    decays = update.new_tensor(PATHS).view(1, -1, 1)
    to_means = (memory.to_means - update.unsqueeze(1)) * decays
    return memory._replace(update=update, to_means=to_means, trust=memory.trust.moved(update))


def take_in(
    memory: DirectionMemory,
    grad: Tensor,
    loss: Tensor,
    flat: Tensor,
    shapes: Sequence[torch.Size],
    first_share: float,
    backtrack: float,
) -> tuple[DirectionMemory, Tensor]:
    """The memory with loss ``(L,)`` and gradient ``(L, d)`` at ``flat`` taken in, and signals ``(L, M, 12)``.

    The signals: cosine of the last step and the change of the gradient; log growth of the gradient's length; change of
    the rate, and its step's length beside theta_m; length of the last step beside theta_m; share of the whole gradient;
    the loss' drop beside what the gradient promised; whether the loss is the best, and whether it has risen; log of the
    loss beside the first, and its share above its running mean; log of the steps made.

    :param shapes: of the M tensors.
    """
    split = [shape.numel() for shape in shapes]
    step, last = memory.update, memory.basis[:, 0]
    change = grad - last
    step_change, change_change = dots(step, change, split), dots(change, change, split)
    now = memory.trust.take_in(loss, backtrack)
    count = now.num_seen
    begins = count == 1
    first = begins.unsqueeze(-1)
    old = memory.log_rate
    measured = torch.log(step_change.abs() + _SMALL) - torch.log(change_change + _SMALL)
    # After the first step the measurement itself, later a step towards it of at most a factor of e^1.5.
    followed = torch.where(count.unsqueeze(-1) == 2, measured, old + (measured - old).clamp(-1.5, 1.5))
    whole = grad.square().sum(-1)
    polyak = torch.log((loss.abs() + _SMALL) / (whole + _SMALL)).unsqueeze(-1) + math.log(first_share)
    log_rate = torch.where(first, polyak, torch.where(step_change == 0, old, followed))

    mean_loss = torch.where(begins, loss, memory.mean_loss.lerp(loss, 0.1))
    step_size = dots(step, step, split).sqrt()
    sizes = dots(flat, flat, split).sqrt()
    # A tensor that starts at zero counts as a tenth of what its share of the coordinates would be.
    share = torch.tensor(split, device=flat.device).to(flat.dtype).div(flat.shape[1]).sqrt()
    sizes = torch.maximum(sizes, 0.1 * share * sizes.norm(dim=-1, keepdim=True)) + _SMALL
    grown, before = dots(grad, grad, split), dots(last, last, split)
    promised = dots(last, step, split).sum(-1)
    signals = [
        step_change / (step_size.square() * change_change + _SMALL).sqrt(),
        (0.5 * torch.log((grown + _SMALL) / (before + _SMALL))).clamp(-5, 5) / 2,
        log_rate - old,
        (log_rate + 0.5 * torch.log(grown + _SMALL) - sizes.log()).clamp(-10, 5) / 3,
        torch.log(step_size / sizes + 1e-6) / 3,
        torch.log((grown + _SMALL) / (whole.unsqueeze(-1) + _SMALL)).clamp(-10, 0) / 3,
    ]
    of_problem = [
        ((memory.trust.last - loss) / (promised.abs() + _SMALL)).clamp(-3, 3),
        now.is_best.to(loss.dtype),
        now.risen.to(loss.dtype),
        torch.log(loss.abs() / (now.first.abs() + _SMALL) + 1e-6) / 3,
        ((loss - mean_loss) / (mean_loss.abs() + _SMALL)).clamp(-3, 3),
        count.log() / 4,
    ]
    signals += [value.unsqueeze(-1).expand_as(old) for value in of_problem]

    curvature = memory.curvature.add(step, change) if memory.curvature.steps.shape[1] else memory.curvature
    known = curvature.scale > 0
    square = memory.square.lerp(grad.square(), 1 - _BETA2)
    basis = torch.empty_like(memory.basis)
    basis[:, 0] = grad
    decays = grad.new_tensor(DECAYS).view(1, -1, 1)
    torch.lerp(memory.basis[:, _MEANS], grad.unsqueeze(1), 1 - decays, out=basis[:, _MEANS])
    momentum = basis[:, _MEANS.start + 1]
    root = (square / (1 - _BETA2 ** count.unsqueeze(-1))).sqrt()
    torch.div(momentum, root + 1e-12, out=basis[:, _ADAM])
    for shape, part, out in zip(shapes, momentum.split(split, -1), basis[:, _WHITENED].split(split, -1), strict=True):
        out.copy_(whiten(part.unflatten(-1, shape)).flatten(1))
    basis[:, _NEWTON] = torch.where(known.unsqueeze(-1), now.cap(curvature.solve(grad)), grad)
    basis[:, _STEP] = step
    basis[:, _TO_MEANS] = memory.to_means
    basis[:, -1] = now.to_best
    taken_in = memory._replace(
        basis=basis,
        square=square,
        curvature=curvature,
        log_rate=log_rate,
        sizes=sizes,
        mean_loss=mean_loss,
        trust=now,
    )
    return taken_in, torch.where(first.unsqueeze(-1), 0.0, torch.stack(signals, -1))


def units(memory: DirectionMemory, length: Tensor) -> tuple[Tensor, Tensor]:
    """What turns the directions of ``length (L, M, B)`` into steps.

    The first, ``(L, M, B)``: the Barzilai-Borwein step along gradients, those made as long as the gradient; 1 for the
    others.  The second, ``(L, M, G)``: a tenth of theta_m's length along gradients.
    """
    gradient = length[..., :NUM_GRADIENTS]
    rate = memory.log_rate.exp().unsqueeze(-1) * (gradient[..., :1] / (gradient + _SMALL))
    decays = length.new_tensor((0.0, *DECAYS))
    correction = 1 / (1 - decays ** memory.trust.num_seen.view(-1, 1, 1))
    natural = memory.log_rate.exp().unsqueeze(-1) * correction
    rate = torch.cat([natural, rate[..., correction.shape[-1] :]], -1)
    rate = torch.where(gradient > 0, rate, 0.0)
    one = torch.ones_like(length[..., :1])
    newton = torch.where((memory.curvature.scale > 0).view(-1, 1, 1), one, rate[..., :1])
    relative = torch.where(gradient > 0, 0.1 * memory.sizes.unsqueeze(-1) / (gradient + _SMALL), 0.0)
    return torch.cat([rate, newton, *[one] * (2 + len(PATHS))], -1), relative


def dots(a: Tensor, b: Tensor, split: list[int]) -> Tensor:
    """Inner products tensor by tensor, ``(L, M)``."""
    return torch.stack([part.sum(-1) for part in (a * b).split(split, 1)], 1)
