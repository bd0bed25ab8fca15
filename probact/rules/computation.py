"""Networks that compute an answer step by step, as rules: ``start`` and ``think`` are all that they have to say."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, Self

import torch
from torch import Tensor

from probact.rules.base import Step, UpdateRule
from probact.support.sight import Sight
from probact.support.trees import Params, State, map_params


class Computation(UpdateRule):
    """A network that is asked for its answer after every step; it sees the input of its problems and nothing else.

    A subclass says two things, and ``num_features``, how many numbers a problem it tells halting::

        start(given) -> state                        once, from the input
        think(state) -> state, answer, features      at every step

    Problems do not see each other: row l of all that it returns depends on row l of the input only.  The answer after
    t steps is theta_t.  ``nll`` of the problems scores it, in training; neither the network nor halting ever sees that.
    """

    sees = Sight.INPUT

    @abstractmethod
    def start(self, given: Params) -> State:
        """The memory before the first step, from what the problems give, name -> ``(L, ...)``.

        Weights used here learn from the steps before the first cut of truncated backpropagation alone.
        """

    @abstractmethod
    def think(self, state: State) -> tuple[State, Tensor | Params, Tensor]:
        """One step: the next memory, the answer ``(L, *shape)``, and features for halting ``(L, num_features)``.

        Of problems whose answer has several parts it is a dict of them, by name.
        """

    def init(self, params: Params) -> State:
        return ()

    def shown(self, state: State, given: Params) -> State:
        return self.start(given)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        state, answer, features = self.think(state)
        named = answer if isinstance(answer, dict) else dict.fromkeys(params, answer)
        for name, tensor in params.items():
            part = named.get(name)
            if not isinstance(part, Tensor) or part.shape != tensor.shape:
                got = tuple(part.shape) if isinstance(part, Tensor) else "none"
                raise ValueError(
                    f"{self.label}: think: expected an answer {name!r} of {tuple(tensor.shape)}, got {got}"
                )
        return Step(map_params(torch.sub, {name: named[name] for name in params}, params), state, features)


class Asked(NamedTuple):
    """What networks that read places and answer with a label are given.

    :ivar places: ``(L, n, c)``: n places of c numbers each.
    :ivar answer: logits of C classes before the first step, ``(L, C)``.
    """

    places: Tensor
    answer: Tensor

    @classmethod
    def of(cls, given: Params, what: str) -> Self:
        """:raises ValueError: if the problems give something else; ``what`` does not fit them."""
        places, answer = (given.get(name) for name in cls._fields)
        if places is None or answer is None or (places.dim(), answer.dim()) != (3, 2):
            got = ", ".join(f"{name!r} of {tuple(tensor.shape)}" for name, tensor in given.items())
            raise ValueError(f"{what}: expected problems that give 'places' (L, n, c) and 'answer' (L, C), got {got}")
        return cls(places, answer)


def widened(tensor: Tensor, size: int, what: str) -> Tensor:
    """``tensor (..., c)`` with zeros behind it to ``(..., size)``.

    :param what: whose option ``size`` is, and which.
    :raises ValueError: if it is wider.
    """
    beyond = size - tensor.shape[-1]
    if beyond < 0:
        raise ValueError(f"{what}: expected at least the {tensor.shape[-1]} numbers of the problems, got {size}")
    return torch.nn.functional.pad(tensor, (0, beyond)) if beyond else tensor


def confidence(answer: Tensor) -> Tensor:
    """The largest probability of the logits ``answer (L, C)``, ``(L, 1)``."""
    return answer.softmax(-1).amax(-1, keepdim=True)
