"""Copies of a rule with weights of their own, which step together."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from probact.rules.base import Step, UpdateRule
from probact.rules.plan import Plan
from probact.rules.safeguarded import Safeguarded
from probact.support.trees import Params, State, map_state

Weights = dict[str, Tensor]
"""Weights of L copies of a rule, or perturbations of them: name -> ``(L, *shape)``."""


def trainable(rule: UpdateRule) -> dict[str, nn.Parameter]:
    """The weights that are to be trained."""
    return {name: weight for name, weight in rule.named_parameters() if weight.requires_grad}


class Copies(UpdateRule):
    """Copies of ``rule``, one for each of L problems, with ``weights`` of their own for those that are named there.

    Without gradient.  All step at once where the rule ``is_linear``, else by ``torch.vmap``, which takes
    longer.  A rule whose step depends on values by Python's ``if`` cannot be copied so.
    """

    def __init__(self, rule: UpdateRule, weights: Weights) -> None:
        super().__init__()
        self.rule = rule
        self.num_features = rule.num_features
        self._weights = {f"rule.{name}": weight for name, weight in weights.items()}
        self._steps = torch.vmap(self._step)
        self._together = _with_rows(rule, weights) if rule.is_linear else None

    def init(self, params: Params) -> State:
        return self.rule.init(params)

    @property
    def plans(self) -> bool:
        return self.rule.plans

    def told(self, state: State, plan: Plan) -> State:
        return self.rule.told(state, plan)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        with torch.no_grad():
            if self._together is not None:
                return self._together.step(grads, state, params, loss)
            with _Vectorisable():
                step: Step = self._steps(self._weights, grads, state, params, loss)
        return step

    def forward(self, *seen: Any) -> Step:
        return self.rule.step(*seen)

    def _step(self, weights: Weights, *seen: Any) -> Step:
        """Of one copy, whose problem is a batch of one."""
        batch = map_state(lambda tensor: tensor.unsqueeze(0), seen)
        step = torch.func.functional_call(self, weights, batch)
        alone: Step = map_state(lambda tensor: tensor.squeeze(0), step)
        return alone


def copies_of(rule: UpdateRule, weights: Weights) -> UpdateRule:
    """``Copies``; those of a safeguarded rule within one safeguard, which has no weights."""
    if not isinstance(rule, Safeguarded):
        return Copies(rule, weights)
    return Safeguarded(Copies(rule.rule, {name.removeprefix("rule."): weight for name, weight in weights.items()}))


class _RowsOfLinear(nn.Module):
    """``linear`` with a weight ``(L, m, n)`` and a bias ``(L, m)`` for each row of its inputs ``(L, ..., n)``."""

    def __init__(self, linear: nn.Linear, weights: Weights, name: str) -> None:
        super().__init__()
        num = len(next(iter(weights.values())))
        self._weight = weights.get(f"{name}.weight", linear.weight.detach().expand(num, -1, -1)).mT
        self._bias = weights.get(f"{name}.bias", linear.bias.detach().expand(num, -1)).unsqueeze(1)

    def forward(self, inputs: Tensor) -> Tensor:
        made = torch.baddbmm(self._bias, inputs.flatten(1, -2), self._weight)
        return made.view(*inputs.shape[:-1], made.shape[-1])


def _with_rows(rule: UpdateRule, weights: Weights) -> UpdateRule:
    """A copy of a rule that ``is_linear``, with ``weights``."""
    rule = copy.deepcopy(rule)
    for name, part in [*rule.named_modules()]:
        if isinstance(part, nn.Linear):
            rule.set_submodule(name, _RowsOfLinear(part, weights, name))
    return rule


class _Vectorisable(TorchFunctionMode):
    """What ``torch.vmap`` cannot take (or not at once), in terms of what it can."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name == "lstm_cell":
            return _lstm_cell(*args)
        if name == "addcmul_":
            return args[0].add_(args[1] * args[2])
        if (out := given.pop("out", None)) is not None:
            return out.copy_(function(*args, **given))
        return function(*args, **given)


def _lstm_cell(
    inputs: Tensor, state: tuple[Tensor, Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> tuple[Tensor, Tensor]:
    """``torch.lstm_cell``: gates in the order input, forget, candidate, output."""
    hidden, cell = state
    let_in, keep, candidate, let_out = (inputs @ w_ih.mT + b_ih + hidden @ w_hh.mT + b_hh).chunk(4, -1)
    new_cell = keep.sigmoid() * cell + let_in.sigmoid() * candidate.tanh()
    return let_out.sigmoid() * new_cell.tanh(), new_cell
