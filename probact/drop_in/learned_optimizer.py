"""The drop-in for a PyTorch loop of one's own: a rule and its halting posterior as a ``torch.optim.Optimizer``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, Unpack

import torch
from torch import Tensor

from probact.drop_in import groups, stop as stops
from probact.drop_in.cohorts import look
from probact.drop_in.handed import TakesLoss
from probact.drop_in.horizon import Horizon
from probact.drop_in.loss import checked_patience, mean_over_ranks, not_finite
from probact.drop_in.parameters import fitted, read_gradients, working_zero
from probact.drop_in.saving import Resumable
from probact.drop_in.state import Standing
from probact.drop_in.watch import Options, Watch, monitor_of
from probact.inference.posteriors.base import HaltingPosterior
from probact.monitoring.monitor import HaltingMonitor
from probact.rules.base import UpdateRule
from probact.rules.fused import fused
from probact.rules.overwriting import kept_in, overwriting
from probact.rules.safeguarded import Safeguarded, bare
from probact.runs.trained import TrainedOptimizer
from probact.stopping.online import OnlineBelief
from probact.support.sight import Sight
from probact.support.trees import Params
from probact.unrolling.step import Seen


class LearnedOptimizer(TakesLoss, Resumable):
    """A rule, learned or not, that optimizes ``params`` and knows when to stop.

    ::

        while not optimizer.should_stop():
            loss = optimizer.step(closure)

    ``step`` is what an unroll does, on one problem: it looks at theta_t (loss, gradient, the rule's next step), takes
    that in for q(t|x), and only then decides.  The step at which the stop rule fires makes no move: after the loop the
    parameters are theta_t, the loss is the one there; but in the safeguard, where that loss is above the best by more
    than noise (an exact loss has none), they are the best ones.  As in training, theta_0 is looked at but is no place
    to stop.  The stop is advice: a loop that goes on is warned once, and optimizes on.

    With ``validation`` and ``price`` it stops where another look at that loss is not worth its price.  It looks before
    the first step and after every ``look_every``, and keeps the parameters of the best look, for ``put_back_best``.

    Parameters may be of any shape, of several types (complex ones too) and on several devices.  The rule is worked out
    in double precision if any of them has it, else in single, on the device of the first.  Parameters that have their
    first gradient at the same step are one problem of the rule; those that come later are another beside it, with a
    memory of their own.  What has no gradient is left alone, and so are coordinates whose gradient has always been 0.

    A look at which the loss or a gradient is not finite is passed over; from the second in a row on a rule in the
    safeguard goes back to where the loss was best, other rules wait.

    Options of a parameter group: ``lr`` multiplies the steps of the rule, which has its own length of step, so that 1
    is its own; schedulers set it.  ``weight_decay`` takes ``lr * weight_decay`` of the parameters off at each step.
    With ``maximize`` the loss goes up; the rule sees -loss then.  All groups have to agree on it, as they share a loss.

    With several processes (``torch.distributed``) all ranks have to step together, as replicas do: the loss is their
    mean, and ``DistributedDataParallel`` synchronises the gradients.

    :param params: as for any ``torch.optim.Optimizer``.
    :param rule: any ``UpdateRule``; it sees the parameters under the names "0", "1", ... of their places.
    :param posterior: one trained with the rule, of a kind that can be followed online.
    :param stop: when to stop: a stop rule or what has its methods, ``NAME`` or ``NAME=THRESHOLD``, None for
        never, or "own": where the monitor says, if there is one; else, with a posterior, ``Hazard`` at
        ``HAZARD_SHARE`` of its 1 - nu, or never.  A rule beside a monitor: whichever comes first.
    :param total_steps: how many steps there will be: the rule makes its steps shorter towards the last one.  Without
        it no rule anneals, and ``finish`` can be said later.  Looks that are passed over are no steps.
    :param validation: returns the validation loss at the current parameters; with several ranks their mean counts.
    :param price: of such a look, in units of that loss (``HaltingMonitor``).
    :param monitor: a ``HaltingMonitor`` in place of ``price``, fed by ``validation`` or, without it, by you.
    :param look_every: steps from one call of ``validation`` to the next; 10 unless given.
    :param safeguard: let the rule wear ``Safeguarded``.
    :param freeze_when_stopped: after the stop ``step`` evaluates the loss alone.
    :param patience_for_nan: after so many not finite looks in a row ``step`` raises; None: never.
    :param compile: fuse the rule's steps by ``torch.compile``, if they are one graph (of ``general`` those for
        minibatches): the first ones take a minute or two each, the others a part of their time.
    :param memory_dtype: ``torch.bfloat16`` keeps running means in half the memory (``general``, for minibatches).
    :param options: ``lr`` (1 unless given), ``weight_decay`` (0) and ``maximize`` (False) of groups that do not say;
        ``foreach`` and ``fused`` may be None or False.
    :raises ValueError: if ``rule``, ``stop`` or ``monitor`` is none, or what is given does not fit together.
    """

    def __init__(
        self,
        params: Iterable[Any],
        rule: UpdateRule,
        posterior: HaltingPosterior | None = None,
        *,
        stop: stops.Asked = stops.OWN,
        total_steps: int | None = None,
        validation: Callable[[], Any] | None = None,
        price: float | None = None,
        monitor: HaltingMonitor | None = None,
        look_every: int | None = None,
        safeguard: bool = True,
        freeze_when_stopped: bool = False,
        patience_for_nan: int | None = 100,
        compile: bool = False,
        memory_dtype: torch.dtype | None = None,
        **options: Unpack[groups.Options],
    ) -> None:
        if not isinstance(rule, UpdateRule):
            raise ValueError(f"expected a rule such as RULES.build('adam'), an UpdateRule, got {type(rule).__name__}")
        if rule.sees is not Sight.GRADIENT:
            raise ValueError(f"expected a rule that sees {Sight.GRADIENT.value}, got {rule.label}: no torch optimizer")
        if posterior is not None and posterior.looks is not None:
            raise ValueError("posterior: expected one that sees what the rule descends, got one that looks at x")
        self._watch = Watch(monitor_of(validation, price, monitor), validation, look_every)
        self.stop = stops.asked_for(None if self.monitor and stop == stops.OWN else stop, posterior)
        rule = overwriting(rule) if posterior is None else rule  # a posterior follows steps that may not be made
        rule = fused(kept_in(rule, memory_dtype)) if compile else kept_in(rule, memory_dtype)
        self.rule = Safeguarded(bare(rule)) if safeguard else rule
        self.freeze_when_stopped = freeze_when_stopped
        self.patience_for_nan = checked_patience(patience_for_nan)
        self._standing = Standing(OnlineBelief(posterior), horizon=Horizon.of(total_steps))
        self._zero: Tensor | None = None
        self._said: set[str] = set()
        super().__init__(params, groups.defaults(options))
        if 0 < (lr := float(self.defaults["lr"])) < groups.LEAST_USUAL:
            self._say_once(
                f"lr={lr:g} makes steps {1 / lr:.0f} times shorter than the rule's own: it is a factor on them"
            )

    @classmethod
    def from_pretrained(
        cls,
        params: Iterable[Any],
        source: str | Path = "general",
        *,
        stop: stops.Asked = stops.OWN,
        safeguard: bool = True,
        **options: Unpack[Options],
    ) -> Self:
        """With rule and halting posterior by the name of a shipped optimizer (``probact list``), or from a file.

        :param source: that name, or a file that ``probact export RUN --out FILE`` wrote.
        :param stop: "own" is the monitor's, if there is one, else the file's (``probact export --stop``); where it has
            none, the end of ``total_steps``, or ``stops.NO_NEWS``.  "hazard" follows the halting posterior, whose price
            of a step is in nats of the losses that it was trained on.  One that looks at x cannot be followed here.
        :param safeguard: a rule that was trained in the safeguard wears it in any case.
        :param options: further ones of the class.
        """
        with torch.random.fork_rng(devices=[]):  # rules draw first weights, which the file's replace
            loaded = TrainedOptimizer.find(source)
        has_other = stop != stops.OWN or options.get("validation") or options.get("monitor")
        return cls(
            params,
            loaded.rule,
            None if loaded.looks else loaded.posterior,
            stop=stop if has_other else loaded.stop or stops.default_at(Horizon.of(options.get("total_steps"))),
            safeguard=safeguard or loaded.safeguard,
            **options,
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Before or between steps; a parameter given twice counts once.

        :raises ValueError: on an option that it has not, one that is no number >= 0, or a ``maximize`` of its own.
        """
        if isinstance(param_group, dict):
            param_group = groups.checked(param_group)
            groups.maximize([*self.param_groups, {**self.defaults, **param_group}])
        super().add_param_group(param_group)

    def step(self, closure: Any = None, *, loss: Any = None) -> Any:
        """Look at the current parameters, and make the rule's step unless this is where to stop.

        :param closure: zeroes the gradients, computes the loss, calls ``backward`` and returns the loss (or a dict with
            "loss").
        :param loss: in place of ``closure``, when ``backward`` has been called: the loss.  ``step(loss)`` does as well.
        :returns: what the closure returned, or the loss: that at the parameters looked at.
        :raises ValueError: if neither or both are given, if there is no loss in it, or never was a gradient.
        :raises FloatingPointError: see ``patience_for_nan``.
        """
        if closure is not None and not callable(closure) and loss is None:
            closure, loss = None, closure
        if self._hands_nothing(closure, loss):
            if self._is_dry():
                return None
            raise ValueError(
                "step: expected the loss, as the rule looks at it, got none: step(closure), step(loss=loss), "
                "scaler.step(optimizer, loss=loss), or add_loss(loss) before"
            )
        self._watch.look(self.num_steps, self._params())
        returned, value = self._handed(closure, loss)
        if value is None:
            self._say_once("the closure returned no loss and left no gradient, so nothing was done")
        elif not (self.should_stop() and self.freeze_when_stopped):
            zero = self._fit()
            with torch.no_grad(), torch.autocast(zero.device.type, enabled=False):
                self._look(mean_over_ranks(groups.downhill(self.param_groups, value.to(zero))))
            self._watch.look(self.num_steps, self._params())
        return returned

    def _look(self, loss: Tensor) -> None:
        standing, params = self._standing, self._params()
        self._watch.notice(params)
        grads = groups.all_downhill(self.param_groups, read_gradients(params, loss))
        if not grads:
            if not standing.cohorts:
                raise ValueError("step: expected a gradient, got none: call backward before, or in the closure")
            self._say_once("no parameter has a gradient, so nothing was done: call backward before, or in the closure")
            return
        bad = not_finite(loss, grads)
        if standing.passes_over(bad, self.rule.recovers, self.patience_for_nan):
            return
        self._admit(grads)
        is_followed = standing.belief.posterior is not None
        moving = {name: params[name] for name in grads}
        if not is_followed and self._stops_at(Seen(loss, grads, loss.new_zeros(1, 0))):
            standing.go_back(self.rule, loss, moving)  # before a step is worked out, which may overwrite the memory
            return
        worn, plan = standing.at_pace(self.rule, groups.paces(self.param_groups, grads), loss)
        seen, ahead = look(worn, standing.cohorts, params, loss, grads, plan, is_followed, bad is None)
        if is_followed and self._stops_at(seen):
            standing.go_back(self.rule, loss, moving)
        else:
            standing.go_on(ahead, moving)

    def _stops_at(self, seen: Seen) -> bool:
        """Whether the stop rule fires now, at what is seen; says so where steps go on beyond the end."""
        standing = self._standing
        if not self.should_stop() and standing.steps and standing.decides(self.stop, seen):
            return True
        if overdue := standing.overdue(self.stop, self._watch.stopped()):
            self._say_once(overdue, 6)
        return False

    def finish(self, steps: int) -> None:
        """Make the steps shorter from now on, on a line to the last of ``steps``, from where they stand.

        Where all steps of ``total_steps`` or an earlier ``finish`` are made it begins with a whole one.  The default
        stop of a file moves to the new end.

        :raises ValueError: unless it is a whole number >= 1.
        """
        standing = self._standing
        horizon = Horizon.ending(standing.horizon, steps, standing.steps)
        stop = stops.following(self.stop, standing.horizon, horizon)
        if stop is not self.stop:
            self.stop, standing.stop_memory, standing.stopped_at = stop, None, None
        standing.horizon = horizon

    def _admit(self, grads: Params) -> None:
        if self._standing.admit(self.rule, grads, self._params(), self._fit()):
            self._list_cohorts()

    def _params(self) -> dict[str, Tensor]:
        return groups.by_place(self.param_groups)

    def _fit(self) -> Tensor:
        """Bring rule, posterior and memory to where and what the parameters are now; a zero ``(1,)`` of that type."""
        zero = working_zero(self._params().values())
        if self._zero is None or (self._zero.dtype, self._zero.device) != (zero.dtype, zero.device):
            self._zero, belief = zero, self._standing.belief
            self.rule = fitted(self.rule, zero)
            belief.posterior = None if belief.posterior is None else fitted(belief.posterior, zero)
            self._standing.to(zero)
        return self._zero

    def _is_dry(self) -> bool:
        """Whether ``torch.distributed.checkpoint`` asks for the memory that a step would make: all is 0 then."""
        if self._standing.cohorts or any(float(group["lr"]) for group in self.param_groups):
            return False
        grads = read_gradients(self._params(), self._fit())
        if not grads or any(bool(grad.any()) for grad in grads.values()):
            return False
        self._admit(grads)
        return True

    def _list_cohorts(self) -> None:
        """``state`` says, as torch has it, to which cohort each parameter belongs; the memory itself is shared."""
        params = self._params()
        self.state.clear()
        for place, cohort in enumerate(self._standing.cohorts):
            self.state.update({params[name]: {"cohort": place} for name in cohort.names})

    def _say_once(self, text: str, stacklevel: int = 5) -> None:
        if text not in self._said:
            self._said.add(text)
            warnings.warn(f"LearnedOptimizer: {text}", stacklevel=stacklevel)

    def should_stop(self) -> bool:
        """Whether a ``step`` or the monitor decided to stop; right after it the parameters are those looked at."""
        return self._standing.stopped_at is not None or self._watch.stopped() is not None

    @property
    def monitor(self) -> HaltingMonitor | None:
        """What follows the validation loss, if anything does."""
        return self._watch.monitor

    def put_back_best(self) -> float:
        """Put the parameters of the best look back in place; its validation loss.

        :raises ValueError: if there was no look with a finite loss.
        """
        return self._watch.put_back(self._params())

    @property
    def num_steps(self) -> int:
        """t: how many steps have been made."""
        return self._standing.steps

    @property
    def halting_probability(self) -> float | None:
        """Mass of q(t|x) spent at the steps looked at until the stop; None without a posterior, or before step 1."""
        halted = self._standing.belief.halted
        return None if halted is None else float(halted)

    @property
    def hazard(self) -> float | None:
        """q(t|x) / q(>= t|x) at the last step looked at until the stop; None where ``halting_probability`` is."""
        return None if self._standing.hazard is None else float(self._standing.hazard)
