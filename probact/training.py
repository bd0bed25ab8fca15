"""Meta-training: one ``Record`` a meta-step; the caller logs, saves and stops.

Every random number is a function of the seed and the meta-step, so weights, the meta-optimizer's moments and the step
count are all there is to save, and a run that continues from them makes the same updates bit for bit.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from probact import exact
from probact.experiment import Experiment, generator
from probact.optimizees.base import Optimizee
from probact.rollout import Rollout


class Record(NamedTuple):
    """One meta-step.

    :ivar step: meta-steps done, from 1.
    :ivar loss: the objective on this batch, in nats.
    :ivar mean_halting: mean over the problems of E[t] under q(t|x), or None without a posterior.
    :ivar grad_norm: norm of the meta-gradient before clipping; inf or NaN means that the update was skipped.
    :ivar skipped: updates skipped so far.
    :ivar diverged: problems of this batch that diverged and were left out.
    :ivar validation: the objective on the validation set, where it was computed.
    """

    step: int
    loss: float
    mean_halting: float | None
    grad_norm: float
    lr: float
    anneal: float
    skipped: int
    diverged: int
    seconds: float
    validation: float | None = None
    validation_halting: float | None = None


class Validation(NamedTuple):
    """The objective on the validation set; compared in this order, so that fewer diverged problems win first.

    :ivar diverged: problems that diverged and are left out of the mean.
    :ivar loss: the objective, in nats; inf if every problem diverged.
    :ivar mean_halting: mean E[t] under q(t|x), or None without a posterior.
    """

    diverged: int
    loss: float
    mean_halting: float | None


class MetaTraining:
    """Adam on an experiment's objective; iterate over it to train.

    >>> from probact.experiment import Experiment
    >>> training = MetaTraining(Experiment.create(family="quadratic", horizon=3, meta_steps=2, batch=4))
    >>> [record.step for record in training]
    [1, 2]
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.family = experiment.build_family()
        self.objective = experiment.build()
        if not any(weight.requires_grad for weight in self.objective.parameters()):
            raise ValueError(
                f"nothing to train: rule {experiment.rule!r} has no weights and halting is {experiment.halting!r}"
            )
        self.optimizer = torch.optim.Adam(self.objective.parameters(), lr=experiment.lr)
        self.step = 0
        self.skipped = 0
        self.best_diverged, self.best_validation = experiment.validation_problems, math.inf
        self.best_weights = copy.deepcopy(self.objective.state_dict())
        self._validation_set: Optimizee | None = None

    def __iter__(self) -> Iterator[Record]:
        while self.step < self.experiment.meta_steps:
            yield self._meta_step()

    def _meta_step(self) -> Record:
        begun = time.perf_counter()
        settings, k = self.experiment, self.step
        optimizee = self.family.sample(settings.batch, generator("train", settings.seed, k)).to(settings.device)
        anneal = min(1.0, (k + 1) / settings.kl_warmup) if settings.kl_warmup else 1.0
        lr = settings.lr * 0.5 * (1 + math.cos(math.pi * k / settings.meta_steps))
        self.objective.train()
        self.optimizer.zero_grad()
        loss, rollout = self.objective(optimizee, anneal, generator("horizon", settings.seed, k))
        _check_start(rollout, settings.family)
        if loss.requires_grad:
            loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.objective.parameters(), settings.clip)
        if bool(norm.isfinite()) and loss.requires_grad:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        else:
            self.skipped += 1
        self.step = k + 1
        validation: Validation | None = None
        if self.step % settings.validate_every == 0 or self.step == settings.meta_steps:
            validation = self.validate()
            if validation[:2] < (self.best_diverged, self.best_validation):
                self.best_diverged, self.best_validation, _ = validation
                self.best_weights = copy.deepcopy(self.objective.state_dict())
        return Record(
            step=self.step,
            loss=loss.item(),
            mean_halting=self._mean_halting(rollout),
            grad_norm=norm.item(),
            lr=lr,
            anneal=anneal,
            skipped=self.skipped,
            diverged=int((~rollout.nll.isfinite()).any(0).sum()),
            seconds=time.perf_counter() - begun,
            validation=None if validation is None else validation.loss,
            validation_halting=None if validation is None else validation.mean_halting,
        )

    def validate(self) -> Validation:
        """The objective on a fixed set of problems, the same for every seed."""
        if self._validation_set is None:
            problems = self.family.sample(self.experiment.validation_problems, generator("validation", 0))
            self._validation_set = problems.to(self.experiment.device)
        self.objective.eval()
        with torch.no_grad():
            loss, rollout = self.objective(self._validation_set)
        diverged = int((~rollout.nll.isfinite()).any(0).sum())
        return Validation(diverged, loss.nan_to_num(math.inf).item(), self._mean_halting(rollout))

    def _mean_halting(self, rollout: Rollout) -> float | None:
        with torch.no_grad():
            rollout = rollout.finite()
            q = self.objective.halting(rollout)
            if q is None or q.logits.shape[1] == 0:
                return None
            prior = self.objective.prior.truncate(len(rollout.features))
            log_horizon = self.objective.log_horizon(q, prior, rollout.log_likelihood)
            return float(exact.mean_step(q.log_marginal(log_horizon)).mean())

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


def _check_start(rollout: Rollout, family: str) -> None:
    bad = int((~rollout.nll[0].isfinite()).sum())
    if bad == rollout.nll.shape[1]:
        raise ValueError(f"family {family!r}: expected a finite loss at theta_0, got none in {bad} problems")
