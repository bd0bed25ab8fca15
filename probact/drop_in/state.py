"""Where an optimization stands, as tensors, numbers and text that load with ``weights_only``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor

from probact.drop_in import horizon as horizons
from probact.drop_in.cohorts import Ahead, Cohort
from probact.drop_in.horizon import Horizon
from probact.drop_in.paced import Pace, Pacing
from probact.drop_in.parameters import move_all, moved, write
from probact.inference.posteriors.base import HaltingPosterior
from probact.rules.base import UpdateRule
from probact.rules.plan import Plan
from probact.rules.safeguarded import Safeguarded, bare
from probact.stopping.base import StopRule
from probact.stopping.online import OnlineBelief
from probact.support.trees import Params, State, leaves, map_state
from probact.unrolling.step import Seen


@dataclass
class Standing:
    """All that a ``LearnedOptimizer`` remembers.

    :ivar belief: q(t|x) so far; ``hazard`` is the last one, None before the first.
    :ivar steps: t, how many have been made.
    :ivar stopped_at: the step at which the stop rule fired.
    :ivar num_lost: looks in a row at which loss or gradient were not finite.
    :ivar cohorts: in the order in which they began.
    :ivar stop_memory: the stop rule's; None before its first look.
    :ivar horizon: how many steps there are, if that is known.
    :ivar pacing: the rule as it was paced last.
    """

    belief: OnlineBelief
    hazard: Tensor | None = None
    steps: int = 0
    stopped_at: int | None = None
    num_lost: int = 0
    cohorts: list[Cohort] = field(default_factory=list)
    stop_memory: Any = None
    horizon: Horizon | None = None
    pacing: Pacing = field(default_factory=Pacing)

    def to(self, like: Tensor) -> None:
        """Go on in the type and on the device of ``like``."""
        self.cohorts = [cohort._replace(carry=moved(cohort.carry, like)) for cohort in self.cohorts]
        belief = self.belief
        self.stop_memory, belief.halted, belief.hidden, self.hazard = moved(
            (self.stop_memory, belief.halted, belief.hidden, self.hazard), like
        )

    def decides(self, stop: StopRule | None, seen: Seen) -> bool:
        """Take in what is seen at theta_t, and whether ``stop`` fires there."""
        if stop is None and self.belief.posterior is None:
            return self.stopped_at is not None
        known = self.belief.take_in(self.steps, seen)
        self.hazard = known.hazard
        if stop is not None:
            memory = stop.init(known.loss) if self.stop_memory is None else self.stop_memory
            score, self.stop_memory = stop.checked_score(known, memory)
            if bool(score >= stop.threshold):
                self.stopped_at = self.steps
        return self.stopped_at is not None

    def admit(self, rule: UpdateRule, grads: Params, params: Mapping[str, Tensor], like: Tensor) -> bool:
        """Parameters with their first gradient become a cohort; whether there are any."""
        known = {name for cohort in self.cohorts for name in cohort.names}
        new = [name for name in grads if name not in known]
        if new:
            self.cohorts.append(Cohort.begin(rule, params, new, like))
        return bool(new)

    def plan(self, like: Tensor) -> Plan | None:
        """How many steps are left, if that is known; ``like (1,)``."""
        return None if self.horizon is None else self.horizon.plan(self.steps, like)

    def at_pace(self, rule: UpdateRule, paces: Mapping[str, Pace], like: Tensor) -> tuple[UpdateRule, Plan | None]:
        """``rule`` as it is to make the next step, and the ``plan``."""
        plan = self.plan(like)
        return self.pacing.worn(rule, paces, plan), plan

    def go_on(self, ahead: Mapping[int, Ahead], params: Params) -> None:
        """Make the steps ``ahead`` of the cohorts, by their places; of those of ``params`` alone."""
        for place, (update, carry) in ahead.items():
            move_all(params, update)
            self.cohorts[place] = self.cohorts[place]._replace(carry=carry)
        self.steps += 1

    def go_back(self, rule: UpdateRule, loss: Tensor, params: Params) -> None:
        """Bring ``params`` to the best ones of each cohort, if ``loss (1,)`` is above that there."""
        for place, cohort in enumerate(self.cohorts):
            carry = cohort.back(rule, loss)
            for name in carry.params.keys() & params.keys():
                write(params[name], carry.params[name])
            self.cohorts[place] = cohort._replace(carry=carry._replace(params={}))

    def fired(self, stop: StopRule | None) -> str:
        """That ``stop`` has, in words."""
        return f"the stop rule{f' ({stop.describe()})' if stop else ''} fired at step {self.stopped_at}"

    def overdue(self, stop: StopRule | None, monitor: str | None) -> str | None:
        """That steps go on beyond a stop, the rule's or as the ``monitor`` says, or beyond the last one; else None."""
        if self.stopped_at is not None or monitor:
            ways = "leave the loop where should_stop() is true, or say stop=None, or freeze_when_stopped=True"
            return f"{monitor or self.fired(stop)}, and steps go on: {ways}"
        if self.horizon is not None and self.horizon.left_at(self.steps) < 1:
            return f"all {self.horizon.end} steps of total_steps or finish are made, and steps as short go on"
        return None

    def passes_over(self, bad: str | None, recovers: bool, patience: int | None) -> bool:
        """Whether this look is, as ``bad`` in it is not finite.

        :param recovers: whether the rule does by itself, from the second in a row on.
        :param patience: so many in a row are an error.
        :raises FloatingPointError: if that has lasted.
        """
        self.num_lost = self.num_lost + 1 if bad else 0
        if bad and patience is not None and self.num_lost >= patience:
            first = self.steps - (max(self.num_lost - 2, 0) if recovers else 0)
            raise FloatingPointError(
                f"from step {first} on: {bad} was not finite {self.num_lost} times in a row "
                f"(patience_for_nan={patience}; None to go on for ever)"
            )
        return bad is not None and (self.num_lost == 1 or not recovers)

    def to_state(self, rule: UpdateRule, stop: StopRule | None, like: Tensor) -> dict[str, Any]:
        """What ``of_state`` reads, of the same form before the first look as after it."""
        belief = self.belief
        followed = (belief.halted, belief.hidden, self.hazard)
        return {
            "of": identity(rule, belief.posterior),
            "steps": self.steps,
            "stopped_at": self.stopped_at,
            "horizon": horizons.to_state(self.horizon),
            "num_lost": self.num_lost,
            "cohorts": [
                {"names": list(cohort.names), "carry": _copied(cohort.widened(rule))} for cohort in self.cohorts
            ],
            "stop": None if stop is None else stop.to_json(),
            "has_looked": self.stop_memory is not None,
            "stop_memory": _copied(_memory(stop, like) if self.stop_memory is None else self.stop_memory),
            "has_followed": self.hazard is not None,
            "belief": _copied(_followed(belief.posterior, like) if self.hazard is None else followed),
        }

    @classmethod
    def of_state(
        cls,
        state: Mapping[str, Any],
        rule: UpdateRule,
        posterior: HaltingPosterior | None,
        stop: StopRule | None,
        params: Mapping[str, Tensor],
        like: Tensor,
        horizon: Horizon | None = None,
    ) -> Self:
        """What ``to_state`` gave.  Another stop rule than it had begins to count now; another threshold goes on.

        :param horizon: how many steps there are.
        :raises ValueError, KeyError, TypeError: if it is not of this rule, posterior and these parameters.
        """
        if state["of"] != (expected := identity(rule, posterior)):
            raise ValueError(f"expected one of {expected}, got one of {state['of']}; weights come with the rule")
        standing = cls(belief := OnlineBelief(posterior), None, state["steps"], num_lost=state["num_lost"])
        for saved in state["cohorts"]:
            cohort = Cohort.of_form(rule, params, saved["names"], like, saved["carry"])
            standing.cohorts.append(cohort._replace(carry=_filled(cohort.carry, saved["carry"])))
        if state["has_followed"]:
            followed = _filled(_followed(posterior, like), state["belief"])
            belief.halted, belief.hidden, standing.hazard = followed
        standing.horizon = horizon
        now = None if stop is None else stop.to_json()
        if state["stop"] == now:
            standing.stopped_at = state["stopped_at"]
        if state["has_looked"] and _without_threshold(state["stop"]) == _without_threshold(now):
            standing.stop_memory = _filled(_memory(stop, like), state["stop_memory"])
        return standing


def identity(rule: UpdateRule, posterior: HaltingPosterior | None) -> str:
    """Text that tells rules and posteriors apart, by their names and weights."""
    digest = hashlib.sha256()
    for module in (rule, posterior):
        for weight in () if module is None else module.state_dict().values():
            digest.update(weight.float().cpu().numpy().tobytes())
    worn = " in the safeguard" if isinstance(rule, Safeguarded) else ""
    head = "none" if posterior is None else posterior.distribution.name
    return f"rule {type(bare(rule)).__name__}{worn}, halting {head}, weights {digest.hexdigest()[:16]}"


def _without_threshold(stop: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (stop or {}).items() if name != "threshold"}


def _memory(stop: StopRule | None, like: Tensor) -> State:
    return () if stop is None else stop.init(like)


def _followed(posterior: HaltingPosterior | None, like: Tensor) -> State:
    """The shapes of halted, hidden and hazard."""
    return () if posterior is None else (like, like.new_zeros(1, posterior.memory.hidden_size), like)


def _copied(state: State) -> list[Tensor]:
    """The same, each with memory of its own: the parts of a state may share it, and checkpoints load in place."""
    return [leaf.detach().clone() for leaf in leaves(state)]


def _filled(like: State, saved: list[Tensor]) -> State:
    """A state of the form of ``like`` with the tensors ``saved``.

    :raises ValueError: if number or shapes differ.
    """
    expected = [tuple(tensor.shape) for tensor in leaves(like)]
    got = [tuple(tensor.shape) for tensor in saved]
    if len(expected) != len(got):
        wanted = f"expected {len(expected)} tensors of the shapes of this rule and problem"
        raise ValueError(f"{wanted}, got {len(got)}; saved by another version?")
    if wrong := [pair for pair in zip(expected, got, strict=True) if pair[0] != pair[1]]:
        raise ValueError(f"expected a tensor of shape {wrong[0][0]} for this rule and problem, got {wrong[0][1]}")
    parts = iter(saved)
    return map_state(lambda tensor: next(parts).to(tensor, copy=True), like)
