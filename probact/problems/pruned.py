"""Networks of different widths and depths side by side: the parts that one lacks are held at 0."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from probact.problems.base import Labels, Score
from probact.problems.network import Network
from probact.support.trees import Params, map_params, per_problem


@dataclass(frozen=True)
class Pruned(Network):
    """Networks of different sizes in tensors of one shape.

    ``kept``: name -> ``(L, *shape)``, 1 for the weights that a network has and 0 for the others, which are held at 0.
    """

    kept: Params = field(kw_only=True)

    def _prune(self, params: Params) -> Params:
        return map_params(torch.mul, params, self.kept)

    def loss(self, params: Params, step: int) -> Tensor:
        return super().loss(self._prune(params), step)

    def nll(self, params: Params) -> Tensor:
        return super().nll(self._prune(params))

    def predictive(self, params: Params) -> Distribution | None:
        return super().predictive(self._prune(params))

    def held_out_labels(self, params: Params) -> Labels | None:
        return super().held_out_labels(self._prune(params))

    def test_score(self, params: Params) -> Score:
        return super().test_score(self._prune(params))


def log_uniform_width(num: int, widest: int, generator: torch.Generator) -> Tensor:
    """Widths 2..``widest``, ``(num,)``, each with probability log((width + 1)/width) / log((widest + 1)/2)."""
    low, high = math.log(2), math.log(widest + 1)
    return torch.exp(low + (high - low) * torch.rand(num, generator=generator)).floor()


def prune(network: Network, template: nn.Module, widths: list[Tensor], depth: Tensor) -> Pruned:
    """The MLPs of ``network``, each with its first ``depth`` hidden layers, of ``widths`` units.

    A layer beyond the depth loses all its weights (``mlp.Skippable`` passes it by) and the output layer reads the
    last layer that is left.  Weights start at U(+-1/sqrt(fan in)), as ``nn.Linear`` has it, with the fan in that is
    left.

    :param template: an ``mlp`` with these hidden layers.
    :param widths: ``(L,)`` for each hidden layer.
    :param depth: ``(L,)``, 1 to the number of hidden layers.
    """
    linear = {name: layer for name, layer in template.named_modules() if isinstance(layer, nn.Linear)}
    ones = torch.ones(network.num, next(iter(linear.values())).in_features)
    read = ones  # units of the layer before, (L, in)
    masks: Params = {}
    theta0: Params = {}
    for index, (name, layer) in enumerate(linear.items()):
        if index < len(widths):
            units = (torch.arange(layer.out_features) < widths[index].unsqueeze(-1)).to(ones.dtype)
            units = units * (index < depth).to(ones.dtype).unsqueeze(-1)
        else:
            units = torch.ones(network.num, layer.out_features)
        scale = (layer.in_features / read.sum(-1)).sqrt()
        masks |= {f"{name}.weight": units.unsqueeze(-1) * read.unsqueeze(1), f"{name}.bias": units}
        for part in (f"{name}.weight", f"{name}.bias"):
            theta0[part] = network.theta0[part] * masks[part] * per_problem(scale, network.theta0[part])
        if index < len(widths):
            read = units if index == 0 else torch.where((index < depth).unsqueeze(-1), units, read)
    fields = {name: value for name, value in vars(network).items() if name != "theta0"}
    return Pruned(theta0, **fields, kept=masks)
