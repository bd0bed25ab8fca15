"""The family of style transfers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from probact.problems.base import FAMILIES, OptimizeeFamily
from probact.problems.prices import check_price
from probact.problems.style.features import NETWORKS
from probact.problems.style.images import CIFAR, crop, of_cifar, parted, pictures
from probact.problems.style.loss import StyleTransfer
from probact.support.refusals import check_range

SMALLEST, MULTIPLE = 32, 8


def check_size(what: str, size: int) -> None:
    """:raises ValueError: unless it is a multiple of 8 of at least 32."""
    if size < SMALLEST or size % MULTIPLE or size > 4096:
        raise ValueError(f"{what}: expected size >= {SMALLEST} and <= 4096, a multiple of {MULTIPLE}, got {size}")


def check_features(what: str, features: str) -> None:
    """:raises ValueError: unless it is a network's name."""
    if features not in NETWORKS:
        raise ValueError(f"{what}: unknown features {features!r}: choose from {', '.join(NETWORKS)}")


@FAMILIES.register("style")
class Style(OptimizeeFamily):
    """Neural style transfer: theta is the pixels of a picture, from the content image on; optimum unknown.

    A problem is a crop of a picture of ``content`` and one of a picture of ``style``, both drawn at random: lists of
    names, files and folders, see ``images.NAMES``; some come with the extra ``style``.  ``size``: pixels of a side.
    ``features``: ``random`` filters, which need no package, or ``lite0``, trained on ImageNet, which comes with the
    extra.  ``scale``: of the loss in nats, see ``StyleTransfer``; with nu = .95 and a flat price the default charges
    .002 of the loss a step, and ``--price`` what it says.  Test problems are of pictures, or parts of
    them, that no training sees.

    Andrychowicz et al. 2016, section 3.4, on the loss of Gatys, Ecker and Bethge 2016.
    """

    has_unit = True
    recommended: ClassVar[Mapping[str, Any]] = {
        "rule": "subspace",
        "horizon_prior": "flat",
        "halting_first": True,
        "looks": True,
        "recall": True,
        "log_loss_weight": 10.0,
        "batch": 4,
        "horizon": 128,
        "truncate": 16,
        "through_path": True,
        "lr": 3e-3,
        "meta_steps": 150,
        "validation_problems": 8,
        "test_problems": 32,
    }

    def __init__(
        self,
        features: str = "random",
        style: tuple[str, ...] = ("flower",),
        content: tuple[str, ...] = ("china",),
        size: int = 64,
        scale: float = 0.039,
    ) -> None:
        check_features(self.label, features)
        check_size(self.label, size)
        check_range(self.label, above=0, scale=scale)
        for name, given in (("style", style), ("content", content)):
            if not given:
                raise ValueError(f"{self.label}: expected {name} to name at least one picture, got none")
        self.features, self.style, self.content = features, style, content
        self.size, self.scale = size, scale
        self.is_held_out = False

    @property
    def for_tests(self) -> Self:
        other = type(self)(self.features, self.style, self.content, self.size, self.scale)
        other.is_held_out = True
        return other

    def priced(self, price: float, cost: float) -> Self:
        check_price(price)
        other = copy.copy(self)
        other.scale = price / cost if price else self.scale
        return other

    @cached_property
    def _content(self) -> Sequence[Tensor]:
        named = [picture for name in self.content if name != CIFAR for picture in pictures(name)]
        return parted(named, self.is_held_out)

    @cached_property
    def _styles(self) -> Sequence[Tensor]:
        return [picture for name in self.style for picture in pictures(name)]

    def sample(self, num: int, generator: torch.Generator) -> StyleTransfer:
        content, styles = zip(*map(self.pair, self.seeds(num, generator)), strict=True)
        dtype = torch.get_default_dtype()
        return StyleTransfer.of(
            torch.stack(content).to(dtype),
            [one.to(dtype) for one in styles],
            NETWORKS[self.features](),
            self.scale,
        )

    @staticmethod
    def seeds(num: int, generator: torch.Generator) -> list[int]:
        """Of the ``num`` problems that ``generator`` draws: what each is a function of."""
        return torch.randint(2**62, (num,), generator=generator).tolist()

    def pair(self, seed: int) -> tuple[Tensor, Tensor]:
        """The crops of content and of style of one problem, ``(3, size, size)``."""
        generator = torch.Generator().manual_seed(seed)
        num = len(self._content) + (CIFAR in self.content)
        chosen = int(torch.randint(num, (), generator=generator))
        if chosen < len(self._content):
            picture = self._content[chosen]
        else:
            images = of_cifar(self.is_held_out)
            one = images[int(torch.randint(len(images), (), generator=generator))]
            picture = one.float().div(255).repeat_interleave(2, 1).repeat_interleave(2, 2)
        style = self._styles[int(torch.randint(len(self._styles), (), generator=generator))]
        return crop(picture, self.size, generator), crop(style, self.size, generator)
