"""Meta-training: one ``Record`` a meta-step; the caller logs, saves and stops.

Every random number is a function of the seed and the meta-step.  So weights, the meta-optimizer's moments and the step
count are all there is to save, and a run that continues from them makes the same updates bit for bit.  With several
ranks (``support.ranks``) each unrolls its part of the problems, and all make the same update.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from probact.inference.objectives.base import Objective
from probact.problems.base import Optimizee, OptimizeeFamily
from probact.problems.scaled import Scaled
from probact.runs.assembly import build_objective, check_trainable, start_from
from probact.runs.experiment import Experiment
from probact.runs.run import Record
from probact.runs.trained import TrainedOptimizer
from probact.support.lost import ProcessLostError
from probact.support.randomness import random_stream
from probact.support.ranks import Ranks
from probact.training.evolution import evolve, perturbations
from probact.training.imitation import imitate, teacher_of
from probact.training.schedule import drawn_horizon, horizon_at, settings_at, weight_at
from probact.training.soundness import as_if_unmoved, unsound
from probact.training.tally import Nats, Tally, Validation, of_all_ranks, tally
from probact.unrolling.border import check_parts
from probact.unrolling.rollout import Rollout, returned


class MetaTraining:
    """Adam on an experiment's objective; iterate over it to train.

    :param ranks: the processes that train together, by default this one alone.
    :raises ValueError: if nothing can be trained, or there are fewer problems than ranks.

    >>> from probact import Experiment
    >>> training = MetaTraining(Experiment.create(family="quadratic", horizon=3, meta_steps=2, batch=4))
    >>> [record.step for record in training]
    [1, 2]
    """

    def __init__(self, experiment: Experiment, ranks: Ranks | None = None) -> None:
        self.experiment = experiment
        self.ranks = ranks or Ranks()
        check_trainable(experiment, self.ranks.num_ranks)
        self.family = experiment.build_family()
        self.objective = build_objective(experiment)
        self._weights = [weight for weight in self.objective.parameters() if weight.requires_grad]
        self.teacher = teacher_of(experiment) if experiment.imitate else None
        self.optimizer = torch.optim.Adam(self._weights, lr=experiment.lr)
        self.step = self.updates = self.skipped = self.left_out = 0
        self.best_diverged, self.best_validation = 0, math.inf
        self.best_weights = copy.deepcopy(self.objective.state_dict())
        self._has_begun = not experiment.begin_with
        self._validation_sets: list[Optimizee] = []

    def start_from(self, source: TrainedOptimizer) -> None:
        """Take over the weights of ``source``: see ``runs.assembly.start_from``."""
        start_from(self.objective, source, self.experiment)
        self.best_weights = copy.deepcopy(self.objective.state_dict())
        self._has_begun = True

    def __iter__(self) -> Iterator[Record]:
        if not self._has_begun:
            raise ValueError(f"expected start_from, the weights of {self.experiment.begin_with!r}, before training")
        if self.step == 0 and self.experiment.meta_steps:
            check_parts(self.family, self.objective.rule)
            self._keep_best(self.validate())  # a training that only does harm leaves what it began with
        while self.step < self.experiment.meta_steps:
            yield self._meta_step()

    def _meta_step(self) -> Record:
        begun = time.perf_counter()
        settings, k = self.experiment, self.step
        random = random_stream("train", settings.seed, k)
        optimizee = self._sample(self.family, settings.batch, random, settings.random_scaling)
        anneal = min(1.0, (k + 1) / settings.kl_warmup) if settings.kl_warmup else 1.0
        lr = settings.lr * 0.5 * (1 + math.cos(math.pi * k / settings.meta_steps))
        validates = (k + 1) % settings.validate_every == 0 or k + 1 == settings.meta_steps
        # What is not finished is not kept: neither an update without its validation nor some of a meta-step's updates.
        keeps = settings.by_segment or (validates and not self.ranks.alone)
        whole = copy.deepcopy(self.state_dict()) if keeps else None
        share = torch.rand((), generator=random_stream("price", settings.seed, k)).item()
        objective = self._priced(settings_at(k, share, settings), self.objective.train())
        objective = objective.capped(horizon_at(k, settings.horizon, settings.curriculum))
        of_horizon, of_telling = torch.rand(2, generator=random_stream("steps", settings.seed, k)).tolist()
        objective = self._of_steps(of_horizon, of_telling < 0.5, objective)
        try:
            found, norms = zip(*self._updates(objective, optimizee, anneal, lr, whole), strict=True)
            self.step = k + 1
            self.left_out += found[-1].diverged
            validation = self.validate() if validates else None
        except ProcessLostError:
            if whole is not None:
                self.load_state_dict(whole)
            raise
        if validation is not None:
            self._keep_best(validation)
        return Record(
            step=self.step,
            loss=sum(part.loss for part in found) / len(found),
            mean_halting=found[-1].mean_halting,
            grad_norm=next(filter(math.isnan, norms), max(norms)),
            lr=lr,
            anneal=anneal,
            skipped=self.skipped,
            diverged=found[-1].diverged,
            seconds=time.perf_counter() - begun,
            validation=None if validation is None else validation.loss,
            validation_halting=None if validation is None else validation.mean_halting,
            updates=self.updates,
            left_out=self.left_out,
            **(Nats() if validation is None else validation.nats).known(),
        )

    def _updates(
        self, objective: Objective, optimizee: Optimizee, anneal: float, lr: float, whole: dict[str, Any] | None
    ) -> list[tuple[Tally, float]]:
        """The updates of a meta-step, by segment several: what was found, and the gradient's norm before clipping.

        A problem that is ``unsound`` has no part in them, be it with a gradient of 0, which times inf is NaN: without
        it all is done again, bit for bit what the batch without it gives.

        :param whole: the state before the meta-step, if one of its updates can come before such a problem is found.
        """
        left_out, device = 0, self.experiment.device
        while True:
            updates: list[tuple[Tally, float]] = []
            for loss, rollout in self._pieces(objective, optimizee, anneal):
                lost = self._differentiate(loss, rollout)
                if not self._gradient_norm().isfinite():
                    lost = self._spoilers(objective, optimizee, anneal)
                own = tally(objective, loss, rollout, lost, left_out + int(lost.sum()))
                found = of_all_ranks(own, self.ranks, device, self._weights)
                if found.spoilt:
                    break
                updates.append((found, self._update(lr)))
            else:
                return updates
            if whole is not None:
                self.load_state_dict(copy.deepcopy(whole))
            if own.spoilt:
                optimizee, left_out = optimizee.select(~lost), own.diverged
                objective.unrolling = objective.unrolling._replace(compiled=False)  # not once more for each size

    def _differentiate(self, loss: Tensor, rollout: Rollout) -> Tensor:
        """The gradient of ``loss``, if no problem ``(L,)`` is unsound; which are."""
        self.optimizer.zero_grad()
        lost = unsound(rollout)
        if loss.requires_grad and not bool(lost.any()):
            loss.backward()
        return lost

    def _gradient_norm(self) -> Tensor:
        return torch.nn.utils.get_total_norm([weight.grad for weight in self._weights if weight.grad is not None])

    def _spoilers(self, objective: Objective, optimizee: Optimizee, anneal: float) -> Tensor:
        """Which problems ``(L,)`` make the gradient overflow though they look sound: found by halves."""
        found = []
        for half in torch.arange(optimizee.num, device=self.experiment.device).chunk(2):
            part = optimizee.select(half)
            for loss, rollout in self._pieces(objective, part, anneal):
                lost = self._differentiate(loss, rollout)
                if not self._gradient_norm().isfinite():
                    lost = self._spoilers(objective, part, anneal) if len(half) > 1 else ~lost
                if bool(lost.any()):
                    break
            found.append(lost)
        self.optimizer.zero_grad()
        return torch.cat(found)

    def _update(self, lr: float) -> float:
        """Adam's step; the gradient's norm before clipping, NaN if there is none and the step is skipped."""
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self.experiment.clip).item()
        self.updates += 1
        if not math.isfinite(norm) or all(weight.grad is None for weight in self._weights):
            self.skipped += 1
            return math.nan
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        return norm

    def _pieces(self, objective: Objective, optimizee: Optimizee, anneal: float) -> Iterator[tuple[Tensor, Rollout]]:
        """What the updates of this meta-step minimise, and their unrolls."""
        if self.experiment.gradient == "pes":
            return iter([self._evolve(objective, optimizee, anneal)])
        if self.teacher is not None and (weight := weight_at(self.step, self.experiment)):
            return imitate(objective, self.teacher, weight, optimizee, anneal, self._draws(objective))
        return objective.scored_unrolls(optimizee, anneal, self._draws(objective))

    def _evolve(self, objective: Objective, optimizee: Optimizee, anneal: float) -> tuple[Tensor, Rollout]:
        settings = self.experiment
        random = random_stream("perturbations", settings.seed, self.step)
        part, num = self.ranks.part(settings.batch), optimizee.num
        noise = perturbations(
            objective.rule, settings.batch - (len(part) - num), range(part.start, part.start + num), random
        )
        return evolve(objective, optimizee, noise, settings.pes_sigma, settings.truncate or None, anneal)

    def validate(self) -> Validation:
        """The objective on a fixed set of problems, the same for every seed.

        Of a mixture it is the mean over its parts, of a range of prices or horizons over its ends and its middle; the
        rule is told the horizon, if it ever is.
        """
        num = self.experiment.validation_problems
        self._validation_sets = self._validation_sets or [
            self._sample(part, num, random_stream("validation", 0)) for part in self.family.members
        ]
        self.objective.eval()
        ranges = self.experiment.prior_nu_range or self.experiment.horizon_from
        shares = (0.0, 0.5, 1.0) if ranges else (0.0,)
        with torch.no_grad():
            priced = [self._priced(self.experiment.at_price(share), self.objective) for share in shares]
            objectives = [self._of_steps(share, True, one) for share, one in zip(shares, priced, strict=True)]
            found = [self._validated(one, problems) for one in objectives for problems in self._validation_sets]
        loss = sum(one.loss for one in found) / len(found)
        halting = [one.mean_halting for one in found if one.mean_halting is not None]
        return Validation(
            sum(one.diverged for one in found) // len(shares),
            math.inf if math.isnan(loss) else loss,
            sum(halting) / len(halting) if halting else None,
            Nats.mean([one.nats for one in found]),
        )

    def _priced(self, settings: Experiment, objective: Objective) -> Objective:
        """At the nu of ``settings``."""
        if settings.prior_nu == self.experiment.prior_nu:
            return objective
        return objective.at(settings.build_prior(), settings.build_looks())

    def _of_steps(self, share: float, told: bool, objective: Objective) -> Objective:
        """With unrolls of as many steps as ``drawn_horizon`` says, which the rule may be ``told``.

        Losses that the objective does not see are not worked out.
        """
        settings = self.experiment
        if settings.horizon_from:
            objective = objective.capped(drawn_horizon(share, settings.horizon, settings.horizon_from))
        if not objective.sees_all:
            objective = objective.unrolling_as(whole=False)
        if settings.tell_horizon and told:
            objective = objective.unrolling_as(total_steps=objective.prior.horizon)
        return objective

    def _validated(self, objective: Objective, problems: Optimizee) -> Tally:
        rollout = objective.unroll(problems)
        rollout = rollout._replace(nll=returned(rollout.nll, objective.rule, problems, objective.unrolling.looks))
        lost = unsound(rollout)
        rollout = as_if_unmoved(rollout, lost)
        never = unsound(rollout)  # not even at theta_0
        kept = rollout.select(~never)
        own = tally(objective, objective.score(kept), rollout, never, int(lost.sum()))
        own = own._replace(nats=Nats.mean_of(objective, kept))
        return of_all_ranks(own, self.ranks, self.experiment.device)

    def _keep_best(self, validation: Validation) -> None:
        if validation.loss < self.best_validation:
            self.best_diverged, self.best_validation = validation[:2]
            self.best_weights = copy.deepcopy(self.objective.state_dict())

    def _sample(
        self, family: OptimizeeFamily, num: int, random: torch.Generator, random_scaling: float = 0.0
    ) -> Optimizee:
        """The part of this rank of ``num`` problems of ``family``, which depend on ``random`` alone."""
        problems = family.sample(num, random)
        if random_scaling:
            problems = Scaled.random(problems, random_scaling, random)
        if not self.ranks.alone:
            problems = problems.select(torch.tensor(self.ranks.part(num)))
        return problems.to(self.experiment.device)

    def _draws(self, objective: Objective) -> torch.Generator:
        """What this rank draws its T from: skips what the ranks before it draw."""
        draws = random_stream("horizon", self.experiment.seed, self.step)
        if before := self.ranks.part(self.experiment.batch).start:
            objective.prior.horizon_distribution().draw((before,), draws)
        return draws

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only: loads with ``torch.load(..., weights_only=True)``."""
        return {
            "step": self.step,
            "updates": self.updates,
            "skipped": self.skipped,
            "left_out": self.left_out,
            "best_diverged": self.best_diverged,
            "best_validation": self.best_validation,
            "weights": self.objective.state_dict(),
            "best_weights": self.best_weights,
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``."""
        self.objective.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_weights = state["best_weights"]
        self.best_diverged, self.best_validation = state["best_diverged"], state["best_validation"]
        self.step, self.skipped = state["step"], state["skipped"]
        self.updates, self.left_out = state.get("updates", self.step), state.get("left_out", 0)
        self._has_begun = True
