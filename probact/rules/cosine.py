"""Hand-designed rules on a cosine schedule: what a careful engineer tunes first."""

from __future__ import annotations

from typing import NamedTuple

from probact.rules.base import RULES, Planned
from probact.rules.hand_designed import AdamW, HandDesigned, Momentum
from probact.rules.muon import Muon
from probact.rules.plan import Plan
from probact.support.trees import Params, State, map_params, per_problem


class Scheduled(NamedTuple):
    """:ivar state: the memory of the rule that is scheduled; :ivar plan: what it has been told."""

    state: State
    plan: Plan


class Cosine(Planned, HandDesigned):
    """The steps of the rule beside it, with weight decay, times ``Plan.cosine``, where it is told how many they are.

    As torch's rule with ``CosineAnnealingLR`` down to 0, without warm-up.  Told nothing, it is the rule itself.
    """

    usual = False

    def init(self, params: Params) -> State:
        return Scheduled(super().init(params), Plan.unknown(next(iter(params.values()))))

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        step, inner = super().update(grads, state.state, params)  # type: ignore[safe-super] # that of the rule beside it
        factor = state.plan.cosine
        return map_params(lambda s: per_problem(factor, s) * s, step), state._replace(state=inner)


@RULES.register("momentum-cosine")
class MomentumCosine(Cosine, Momentum):
    """``momentum`` on a cosine, where it is told how many steps there are (Loshchilov and Hutter 2017, equation 5)."""


@RULES.register("adamw-cosine")
class AdamWCosine(Cosine, AdamW):
    """``adamw`` on a cosine, where it is told how many steps there are (Loshchilov and Hutter 2019, algorithm 2)."""


@RULES.register("muon-cosine")
class MuonCosine(Cosine, Muon):
    """``muon`` on a cosine, where it is told how many steps there are."""
