"""What a step may know of a problem: the one thing that rules and problems have to agree on."""

from __future__ import annotations

from enum import Enum


class Sight(Enum):
    """What is shown of a problem at theta_t; its value says so in words."""

    GRADIENT = "its loss and gradient"
    """Loss and gradient, both without graph: an optimizer."""
    VALUE = "its loss alone"
    """The loss at each query, with its graph while the rule learns: a search without gradients."""
    INPUT = "its input alone"
    """Nothing but what the problem gives before the first step: a computation, whose loss a label decides."""
