"""What an optimizer is: ``UpdateRule``, learned or hand-designed, on L problems at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from probact.rules.plan import Plan
from probact.support.registry import Registry
from probact.support.room import Room
from probact.support.sight import Sight
from probact.support.trees import Params, State, leaves, map_state, per_problem

SMALL = 1e-30
"""Added where a divisor or a logarithm's argument may be 0."""
TINY = 2.0**-126
"""Likewise of losses and their changes, which may be small: the least number of all digits in single precision."""

STAND_IN_LOSS = 1e30
"""What stands for a loss that is not finite, where a rule is to recover from it."""


class Step(NamedTuple):
    """What one step returns: ``update`` (added to the parameters), the next ``state``, and ``features (L, F')``."""

    update: Params
    state: State
    features: Tensor


class UpdateRule(nn.Module, ABC):
    """theta_{t+1} = theta_t + update_t, with update_t from gradients up to theta_t.

    Subclasses register a name in ``RULES``; keyword parameters with defaults become ``--rule-option KEY=VALUE``.
    Problems do not see each other: row l of every output depends on row l of the inputs only.
    """

    name: ClassVar[str]
    sees: Sight = Sight.GRADIENT
    """What it has to be shown of a problem; see ``step`` for what it is not."""
    num_features: int = 0
    """F: what the rule itself tells the halting posterior about each problem."""
    backtracks: bool = False
    """Whether it goes back towards its best iterate from a loss that has risen: see ``rollout.returns_best``."""
    is_baseline: ClassVar[bool] = False
    """Whether others are judged against it as it is: it has neither weights nor a rate to tune."""
    is_unit_free: bool = False
    """Whether a search asks the same points whatever the unit and the offset of f, as it sees to this itself."""
    is_one_graph: ClassVar[bool] = False
    """Whether ``step`` has no branch on values, so that ``torch.compile`` makes one graph of it."""
    is_linear: ClassVar[bool] = False
    """Whether its weights are those of ``nn.Linear`` alone, on inputs ``(L, ..., n)`` whose row l is of problem l."""
    is_for_rooms: ClassVar[bool] = False
    """Whether ``step`` works in ``room``, if there is one."""
    room: Room | None = None
    """Where a step without a graph may work: it then overwrites the memory that it is given, and the update before."""
    memory_dtype: torch.dtype | None = None
    """The type that a rule ``is_for_rooms`` keeps its running means in; None: that of the parameters."""
    is_in_graphs: ClassVar[bool] = False
    """Whether ``step`` compiles what it consists of, each as a graph of its own, if ``is_compiled``."""
    is_compiled: bool = False
    """Whether it is compiled: see ``rules.fused``."""
    recovers: ClassVar[bool] = False
    """Whether the rule finds its own way back from where loss or gradient are not finite: see ``step.propose``."""

    @property
    def plans(self) -> bool:
        """Whether the rule itself makes use of a ``Plan``; where it does not, its steps are made shorter by others."""
        return False

    @property
    def is_expecting(self) -> bool:
        """Whether it says what it expects of a step: see ``expects``."""
        return type(self).expects is not UpdateRule.expects

    @property
    def label(self) -> str:
        """For messages: ``rule 'adam'``."""
        return f"rule {getattr(self, 'name', type(self).__name__)!r}"

    @property
    def parts(self) -> dict[str, UpdateRule]:
        """Rules that it is made of, each of another name, which can be trained apart."""
        return {part.name: part for part in self.children() if isinstance(part, UpdateRule)}

    @abstractmethod
    def init(self, params: Params) -> State:
        """The memory before the first step."""

    @abstractmethod
    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        """One step.

        :param grads: gradient of the loss at ``params``, without graph; 0 for a rule that does not see it.
        :param state: what ``init`` or the last step returned.
        :param params: theta_t, name -> ``(L, *shape)``.
        :param loss: loss at ``params``, ``(L,)``, without graph; 0 for a rule that sees the input alone.  One that sees
            the loss alone gets it with its graph, and 0 at theta_0, which is never asked for.
        """

    def shown(self, state: State, given: Params) -> State:
        """``state`` of ``init``, for a rule that makes use of what the problems give (``Optimizee.given``).

        Weights that are used here learn from the steps before the first cut of truncated backpropagation alone.
        """
        return state

    def expects(self, state: State) -> Tensor | None:
        """What the query that ``step`` returned with ``state`` is expected to gain, ``(L,)``, in the unit of the loss.

        None of a rule that expects nothing; inf where it cannot say.
        """
        return None

    def told(self, state: State, plan: Plan) -> State:
        """``state`` before ``step``, for a rule that ``plans``, which learns how many steps are left."""
        return state

    def is_still(self, state: State) -> bool:
        """Whether ``step`` with ``state`` leaves coordinates whose gradient has always been 0 where they are."""
        return False

    def forms(self, params: Params) -> Iterator[State]:
        """Memories of every form that ``init`` and ``step`` return, for a rule that makes room as it goes."""
        yield self.init(params)

    def widened(self, state: State) -> State:
        """``state`` in the form of ``init``, where it has only given up what it needs no more: to load it in place."""
        return state

    def restarted(self, state: State, lost: Tensor, params: Params) -> State:
        """``state`` after ``step``, with a fresh memory for the problems that are ``lost (L,)``."""
        parts = iter(leaves(self.init(params)))
        return map_state(lambda tensor: torch.where(per_problem(lost, tensor), next(parts), tensor), state)

    def after_foreign_step(self, state: State, update: Params) -> State:
        """``state`` after ``step`` as it is if ``update`` was made in place of the step proposed."""
        return state


class Planned(UpdateRule):
    """A rule that plans: the field ``plan`` of its memory is what it has been told."""

    @property
    def plans(self) -> bool:
        return True

    def told(self, state: State, plan: Plan) -> State:
        return state._replace(plan=plan)


class Wrapper(UpdateRule):
    """A rule around another, ``rule``, whose memory is the field ``state`` of its own."""

    def __init__(self, rule: UpdateRule) -> None:
        super().__init__()
        self.rule = rule
        self.sees = rule.sees
        self.num_features = rule.num_features

    def shown(self, state: State, given: Params) -> State:
        return state._replace(state=self.rule.shown(state.state, given))

    @property
    def plans(self) -> bool:
        return self.rule.plans

    def told(self, state: State, plan: Plan) -> State:
        return state._replace(state=self.rule.told(state.state, plan))

    def widened(self, state: State) -> State:
        return state._replace(state=self.rule.widened(state.state))

    def forms(self, params: Params) -> Iterator[State]:
        own = self.init(params)
        for form in self.rule.forms(params):
            yield own._replace(state=form)


RULES: Registry[UpdateRule] = Registry("rule", UpdateRule, "probact.rules")
"""Every rule by its name."""
