"""What a data set is, and which ones are held out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from probact.support.registry import Registry

HELD_OUT = ("fashion-mnist", "cifar10", "wine", "waves", "friedman3", "python", "shifted-digits")
"""No head is trained on these: they are for judging."""


class Points(NamedTuple):
    """n points to learn from.

    :ivar x: ``(n, ...)``.
    :ivar y: int64 classes ``(n, ...)``, or float32 ``(n, d)``.
    :ivar earlier: what a network is trained on before its curve begins.
    """

    x: Tensor
    y: Tensor
    earlier: Points | None = None

    @property
    def outputs(self) -> int:
        """Numbers that a network puts out a point: of classes, or d."""
        return self.y.shape[-1] if self.y.is_floating_point() else int(self.y.max()) + 1

    def at(self, index: Tensor) -> Points:
        """The points of these indices."""
        return self._replace(x=self.x[index], y=self.y[index])


class DataSet(ABC):
    """Where points come from.

    :ivar form: ``classes`` or ``values`` (a table), ``images``, ``text`` or ``ratings``; kinds of models say what they
        take.
    """

    name: ClassVar[str]
    form: ClassVar[str]

    @abstractmethod
    def points(self, generator: np.random.Generator) -> Points:
        """All of them; a generated set is another one of its sort each time."""


DATA_SETS: Registry[DataSet] = Registry("data set", DataSet)
