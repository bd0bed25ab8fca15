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
from probact.support.randomness import random_stream
from probact.support.ranks import ProcessLostError, Ranks
from probact.training.evolution import evolve, perturbations
from probact.training.imitation import imitate, teacher_of
from probact.training.schedule import horizon_at, weight_at
from probact.training.tally import Tally, Validation, of_all_ranks, tally
from probact.unrolling.rollout import Rollout


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
        weights = [weight for weight in self.objective.parameters() if weight.requires_grad]
        self.teacher = teacher_of(experiment) if experiment.imitate else None
        self.optimizer = torch.optim.Adam(weights, lr=experiment.lr)
        self.step = 0
        self.skipped = 0
        self.best_diverged = experiment.validation_problems * len(self.family.members)
        self.best_validation = math.inf
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
        whole = None if self.ranks.alone or not (validates or settings.by_segment) else copy.deepcopy(self.state_dict())
        objective = self.objective.train().capped(horizon_at(k, settings.horizon, settings.curriculum))
        try:
            parts = enumerate(self._pieces(objective, optimizee, anneal))
            updates = [self._update(objective, *part, lr, begins=place == 0) for place, part in parts]
            found, norms = zip(*updates, strict=True)
            self.step = k + 1
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
        )

    def _update(
        self, objective: Objective, loss: Tensor, rollout: Rollout, lr: float, *, begins: bool
    ) -> tuple[Tally, float]:
        """One update of the weights; what was found, and the gradient's norm before clipping.

        :param begins: whether ``rollout`` starts at theta_0.
        """
        self.optimizer.zero_grad()
        if loss.requires_grad:
            loss.backward()
        weights = [weight for weight in self.objective.parameters() if weight.requires_grad]
        found = of_all_ranks(tally(objective, loss, rollout), self.ranks, self.experiment.device, weights)
        if begins and found.finite == 0 and found.unstarted == found.diverged:
            raise ValueError(
                f"family {self.experiment.family!r}: expected a finite loss at theta_0, "
                f"got none in {found.diverged} problems"
            )
        norm = torch.nn.utils.clip_grad_norm_(weights, self.experiment.clip)
        if bool(norm.isfinite()) and any(weight.grad is not None for weight in weights):
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        else:
            self.skipped += 1
        return found, norm.item()

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
        noise = perturbations(objective.rule, settings.batch, self.ranks.part(settings.batch), random)
        return evolve(objective, optimizee, noise, settings.pes_sigma, settings.truncate or None, anneal)

    def validate(self) -> Validation:
        """The objective on a fixed set of problems, the same for every seed: of a mixture the mean over its parts."""
        num = self.experiment.validation_problems
        self._validation_sets = self._validation_sets or [
            self._sample(part, num, random_stream("validation", 0)) for part in self.family.members
        ]
        self.objective.eval()
        with torch.no_grad():
            scored = (self.objective(problems) for problems in self._validation_sets)
            found = [of_all_ranks(tally(self.objective, *one), self.ranks, self.experiment.device) for one in scored]
        loss = sum(one.loss for one in found) / len(found)
        halting = [one.mean_halting for one in found if one.mean_halting is not None]
        return Validation(
            sum(one.diverged for one in found),
            math.inf if math.isnan(loss) else loss,
            sum(halting) / len(halting) if halting else None,
        )

    def _keep_best(self, validation: Validation) -> None:
        if validation[:2] < (self.best_diverged, self.best_validation):
            self.best_diverged, self.best_validation, _ = validation
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
            "skipped": self.skipped,
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
        self._has_begun = True
