"""Hand-designed rules on a cosine schedule: what a careful engineer tunes first."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from probact.rules.base import RULES
from probact.rules.hand_designed import AdamW, HandDesigned, Momentum
from probact.rules.muon import Muon
from probact.rules.plan import Plan
from probact.support.refusals import check_range
from probact.support.trees import Params, State, map_params, per_problem


class Scheduled(NamedTuple):
    """:ivar state: the memory of the rule that is scheduled; :ivar plan: what it has been told."""

    state: State
    plan: Plan


class Cosine(HandDesigned):
    """The steps of a rule of ``kind``, weight decay and all, times ``Plan.cosine``, where it is told how many they are.

    As torch's rule with ``CosineAnnealingLR`` down to 0, without warm-up.  Told nothing, it is the rule itself.
    """

    usual = False
    kind: ClassVar[type[HandDesigned]]

    def __init__(self, lr: float, **options: float) -> None:
        super().__init__(lr)
        self.rule = self.kind(lr, **options)

    @property
    def plans(self) -> bool:
        return True

    def told(self, state: State, plan: Plan) -> State:
        return state._replace(plan=plan)

    def init(self, params: Params) -> State:
        return Scheduled(self.rule.init(params), Plan.unknown(next(iter(params.values()))))

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        step, inner = self.rule.update(grads, state.state, params)
        factor = state.plan.cosine
        return map_params(lambda s: per_problem(factor, s) * s, step), state._replace(state=inner)

    def after_foreign_step(self, state: State, update: Params) -> State:
        return state._replace(state=self.rule.after_foreign_step(state.state, update))


@RULES.register("momentum-cosine")
class MomentumCosine(Cosine):
    """``momentum`` on a cosine, where it is told how many steps there are (Loshchilov and Hutter 2017, equation 5)."""

    kind = Momentum

    def __init__(self, lr: float = 0.05, momentum: float = 0.9) -> None:
        check_range(self.label, at_least=0, below=1, momentum=momentum)
        super().__init__(lr, momentum=momentum)


@RULES.register("adamw-cosine")
class AdamWCosine(Cosine):
    """``adamw`` on a cosine, where it is told how many steps there are (Loshchilov and Hutter 2019, algorithm 2)."""

    kind = AdamW

    def __init__(self, lr: float = 0.1, weight_decay: float = 0.01) -> None:
        check_range(self.label, at_least=0, weight_decay=weight_decay)
        super().__init__(lr, weight_decay=weight_decay)


@RULES.register("muon-cosine")
class MuonCosine(Cosine):
    """``muon`` on a cosine, where it is told how many steps there are."""

    kind = Muon

    def __init__(self, lr: float = 0.05, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        check_range(self.label, at_least=0, below=1, momentum=momentum)
        check_range(self.label, at_least=0, weight_decay=weight_decay)
        super().__init__(lr, momentum=momentum, weight_decay=weight_decay)
