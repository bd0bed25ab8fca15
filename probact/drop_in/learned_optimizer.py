"""The drop-in for a PyTorch loop of one's own: a rule and its halting posterior as a ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from probact.inference.posteriors.base import HaltingPosterior
from probact.rules.base import UpdateRule
from probact.rules.safeguarded import Safeguarded, bare
from probact.runs.trained import TrainedOptimizer
from probact.stopping.base import Known, StopRule
from probact.stopping.online import OnlineBelief
from probact.stopping.rules import Hazard
from probact.support.trees import Params, State, map_state
from probact.unrolling.walk import Carry, advance, init, see

HAZARD_SHARE = 0.5
"""The default stop: the hazard of q(t|x) reaches this share of the prior's, 1 - nu."""


class LearnedOptimizer(torch.optim.Optimizer):
    """A rule, learned or not, that optimizes ``params`` and knows when to stop.

    ::

        while not optimizer.should_stop():
            loss = optimizer.step(closure)

    ``step`` is what an unroll does, on one problem: it looks at theta_t (loss, gradient, the rule's next step), takes
    that in for q(t|x), and only then decides.  Where the stop rule says so it leaves the parameters alone: after the
    loop they are theta_t, the loss is the one there, and further steps evaluate it and change nothing.  As in training,
    theta_0 is looked at but is no place to stop.

    :param params: parameters in one group, of one type and on one device, as the rule's weights.  Those without a
        gradient at the first step are left alone.
    :param rule: any ``UpdateRule``; it sees the parameters under the names "0", "1", ... of their places.
    :param posterior: a halting posterior trained with the rule, of a kind that can be followed online.
    :param stop: when to stop; by default, with a posterior, ``Hazard`` at ``HAZARD_SHARE`` of its 1 - nu, else never.
    :param safeguard: let the rule wear ``Safeguarded``.
    :raises ValueError: on several parameter groups, types or devices, or if posterior and stop rule do not fit.
    """

    def __init__(
        self,
        params: Iterable[Any],
        rule: UpdateRule,
        posterior: HaltingPosterior | None = None,
        *,
        stop: StopRule | None = None,
        safeguard: bool = True,
    ) -> None:
        super().__init__(params, {})
        self.rule = Safeguarded(bare(rule)) if safeguard else rule
        if stop is None and posterior is not None:
            stop = Hazard(HAZARD_SHARE * (1 - posterior.nu))
        if stop is not None and stop.needs_posterior and posterior is None:
            raise ValueError(f"stop rule {stop.name!r}: expected a halting posterior to follow, got none")
        self.stop = stop
        self._belief = OnlineBelief(posterior)
        self._steps = 0
        self._stopped = False
        self._names: list[str] = []
        self._carry: Carry | None = None
        self._memory: Any = ()
        self._hazard: Tensor | None = None

    @classmethod
    def from_pretrained(
        cls, params: Iterable[Any], source: str | Path, *, stop: StopRule | None = None, safeguard: bool = True
    ) -> Self:
        """With rule and halting posterior by the name of a shipped optimizer (``probact list``), or from a file.

        :param source: that name, or a file that ``probact export RUN --out FILE`` wrote.
        :param stop: in place of the file's; where there is neither, the default.
        :param safeguard: a rule that was trained in the safeguard wears it in any case.
        """
        params = list(params)
        loaded = TrainedOptimizer.find(source)
        worn, stop = safeguard or loaded.safeguard, loaded.stop if stop is None else stop
        made = cls(params, loaded.rule, loaded.posterior, stop=stop, safeguard=worn)
        for module in (loaded.rule, loaded.posterior):
            if module is not None:
                module.to(made._all[0])
        return made

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """:raises ValueError: if there is a group already, or types or devices are mixed."""
        if self.param_groups:
            raise ValueError("expected one parameter group, got several: the rule sees all parameters as one problem")
        super().add_param_group(param_group)
        kinds = sorted({f"{param.dtype} on {param.device}" for param in self._all})
        if len(kinds) > 1:
            raise ValueError(f"expected parameters of one type on one device, got {', '.join(kinds)}")

    @property
    def _all(self) -> list[nn.Parameter]:
        params: list[nn.Parameter] = self.param_groups[0]["params"]
        return params

    def step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:  # type: ignore[override]
        """Look at the current parameters, and make the rule's step unless this is where to stop.

        :param closure: zeroes the gradients, computes the loss, calls ``backward`` and returns the loss.
        :param loss: in place of ``closure``, when ``backward`` has been called: the loss.
        :returns: the loss at the parameters looked at.
        :raises ValueError: if neither or both are given, or a parameter has its first gradient after the first step.
        """
        if (closure is None) == (loss is None):
            raise ValueError("step: expected either a closure that returns the loss, or loss=")
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        value = torch.as_tensor(loss).detach()
        if value.numel() != 1:
            raise ValueError(f"step: expected a loss of one number, got shape {tuple(value.shape)}")
        if not self._stopped:
            with torch.no_grad():
                self._step(value.reshape(1).to(self._all[0]))
        return loss

    def _step(self, loss: Tensor) -> None:
        params = {name: self._all[int(name)] for name in self._named()}
        theta: Params = {name: param.unsqueeze(0).clone() for name, param in params.items()}
        grads = {
            name: torch.zeros_like(theta[name]) if param.grad is None else param.grad.unsqueeze(0).clone()
            for name, param in params.items()
        }
        carry = init(self.rule, theta) if self._carry is None else self._carry._replace(params=theta)
        ahead, proposed = advance(self.rule, carry, loss, grads)
        seen, ahead = see(loss, grads, proposed, ahead)
        if self._steps:
            known = self._belief.take_in(self._steps, seen)
            self._hazard, self._stopped = known.hazard, self._decide(known)
        if self._stopped:
            return
        for name, param in params.items():
            if param.grad is not None:
                param.copy_(ahead.params[name][0])
        self._carry = ahead
        self._steps += 1

    def _named(self) -> list[str]:
        """Places of the parameters that are optimized: those with a gradient at the first step."""
        found = [str(place) for place, param in enumerate(self._all) if param.grad is not None]
        if self._carry is None:
            if not found:
                raise ValueError("step: expected a gradient, got none: call backward before, or in the closure")
            self._names = found
        for name in found:
            if name not in self._names:
                raise ValueError(f"parameter {name}: expected its first gradient at the first step, not later")
        return self._names

    def _decide(self, known: Known) -> bool:
        if self.stop is None:
            return False
        if self._steps == 1:
            self._memory = self.stop.init(known.loss)
        score, self._memory = self.stop.score(known, self._memory)
        return bool(score >= self.stop.threshold)

    def should_stop(self) -> bool:
        """Whether the last ``step`` decided to stop: the parameters are then those that it looked at."""
        return self._stopped

    @property
    def num_steps(self) -> int:
        """t: how many steps have been made."""
        return self._steps

    @property
    def halting_probability(self) -> float | None:
        """Mass of q(t|x) spent at the steps looked at so far; None without a posterior, or before step 1."""
        return None if self._belief.halted is None else float(self._belief.halted)

    @property
    def hazard(self) -> float | None:
        """q(t|x) / q(>= t|x) at the last step looked at; None where ``halting_probability`` is."""
        return None if self._hazard is None else float(self._hazard)

    def state_dict(self) -> dict[str, Any]:
        """Where the optimization stands, without the weights of rule and posterior; loads with ``weights_only``."""
        carry, belief = self._carry, self._belief
        state = {
            "steps": self._steps,
            "stopped": self._stopped,
            "names": list(self._names),
            "carry": [] if carry is None else _leaves(carry._replace(params={})),
            "stop": _leaves(self._memory),
            "belief": [] if self._hazard is None else [belief.halted, belief.hidden, self._hazard],
        }
        return {"state": state, "param_groups": [{"params": list(range(len(self._all)))}]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where another optimizer with the same rule, posterior, stop and parameters stood, bit for bit.

        :raises ValueError: if ``state_dict`` is not one of such an optimizer; nothing is changed then.
        """
        try:
            state = state_dict["state"]
            theta = {name: self._all[int(name)].detach().unsqueeze(0) for name in state["names"]}
            zero = self._all[0].new_zeros(1)
            carry = _filled(init(self.rule, theta)._replace(params={}), state["carry"]) if theta else None
            memory = _filled(self.stop.init(zero), state["stop"]) if state["stop"] and self.stop else ()
            belief = _filled(self._belief_before(zero), state["belief"]) if state["belief"] else (None, None, None)
            self._steps, self._stopped, self._names = state["steps"], state["stopped"], list(theta)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"not the state of a LearnedOptimizer like this one ({error})") from None
        self._carry, self._memory = carry, memory
        self._belief.halted, self._belief.hidden, self._hazard = belief

    def _belief_before(self, zero: Tensor) -> State:
        """The shapes of halted, hidden and hazard."""
        posterior = self._belief.posterior
        return () if posterior is None else (zero, zero.new_zeros(1, posterior.memory.hidden_size), zero)


def _leaves(state: State) -> list[Tensor]:
    """Every tensor of ``state``, in order."""
    leaves: list[Tensor] = []
    map_state(leaves.append, state)
    return leaves


def _filled(like: State, leaves: list[Tensor]) -> State:
    """A state of the form of ``like`` with the tensors ``leaves``.

    :raises ValueError: if number or shapes differ.
    """
    expected = [tuple(tensor.shape) for tensor in _leaves(like)]
    if expected != (got := [tuple(tensor.shape) for tensor in leaves]):
        raise ValueError(f"expected {len(expected)} tensors of the shapes of this rule and problem, got {len(got)}")
    parts = iter(leaves)
    return map_state(lambda tensor: next(parts).to(tensor), like)
