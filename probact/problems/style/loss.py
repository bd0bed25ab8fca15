"""What a picture is judged by: the content of one image, the style of another, and smoothness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from probact.problems.base import Optimizee, Shared
from probact.problems.style.features import Features, maps_of, normalised
from probact.problems.style.stack import Layer
from probact.support.trees import Params

STYLE_WEIGHT, SMOOTHNESS_WEIGHT = 3.0, 0.5


def gram(values: Tensor) -> Tensor:
    """G = F F^T / positions of maps F ``(L, N, height, width)``, ``(L, N, N)``."""
    flat = values.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def _relative(values: Tensor, target: Tensor) -> Tensor:
    """mean (values - target)^2 / mean target^2 of each problem, ``(L,)``."""
    flat = target.flatten(1)
    return (values.flatten(1) - flat).square().mean(1) / flat.square().mean(1).clamp_min(1e-12)


def roughness(pixels: Tensor) -> Tensor:
    """Mean squared difference of neighbours, downwards and to the right, of the networks' input, ``(L,)``."""
    image = normalised(pixels)
    return sum((image.diff(dim=side).square().flatten(1).mean(1) for side in (2, 3)), start=image.new_zeros(len(image)))


@dataclass(frozen=True)
class StyleTransfer(Optimizee):
    """L pictures; theta_0 is the content image, and theta its pixels, free to leave [0, 1].

    loss = C + 3 S + R / 2 (after Gatys, Ecker and Bethge 2016): C is the squared error of the content map beside its
    own square, S the mean over layers of the squared error of the Gram matrices beside theirs, R ``roughness``.
    nll = loss / s: -log p, up to a constant, of a perfect picture under Laplace noise of scale s.  A price of lambda a
    step, in units of the loss, is then one of lambda / s nats.

    :ivar content: the content image's last map, ``(L, N, height, width)``.
    :ivar grams: layer by layer those of the style image, ``(L, N, N)``.
    :ivar weights: of the feature network, whose ``layers`` they belong to.
    :ivar scale: s.
    """

    content: Tensor
    grams: dict[str, Tensor]
    weights: Shared
    layers: tuple[Layer, ...]
    scale: float

    @classmethod
    def of(cls, content: Tensor, styles: Sequence[Tensor], features: Features, scale: float) -> Self:
        """
        :param content: ``(L, 3, height, width)`` in [0, 1].
        :param styles: L images ``(3, height, width)``, of any sizes.
        """
        weights = tuple(tensor.to(content) for tensor in features.weights)
        with torch.no_grad():
            found = maps_of(content, features.layers, weights)
            of_each = [[gram(one) for one in maps_of(style[None], features.layers, weights)] for style in styles]
        grams = {str(number): torch.cat(layer) for number, layer in enumerate(zip(*of_each, strict=True))}
        return cls({"pixels": content}, found[-1], grams, Shared(weights), features.layers, scale)

    def nll(self, params: Params) -> Tensor:
        return self.picture_loss(params) / self.scale

    def picture_loss(self, params: Params) -> Tensor:
        """C + 3 S + R / 2, ``(L,)``."""
        content, style, rough = self.terms(params)
        return content + STYLE_WEIGHT * style + SMOOTHNESS_WEIGHT * rough

    def terms(self, params: Params) -> tuple[Tensor, Tensor, Tensor]:
        """C, S and R, each ``(L,)``."""
        found = maps_of(params["pixels"], self.layers, self.weights.tensors)
        errors = [_relative(gram(one), self.grams[str(number)]) for number, one in enumerate(found)]
        return _relative(found[-1], self.content), torch.stack(errors).mean(0), roughness(params["pixels"])
