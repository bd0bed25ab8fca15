"""Predicting by all steps at once: p(y|x) = sum_t q(t|x) p(y|theta_t), beside the one step that a stop picks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from probact.judging.trajectory import Trajectory
from probact.problems.base import Labels, Optimizee
from probact.rules.base import UpdateRule
from probact.unrolling.looks import Looks
from probact.unrolling.rollout import returned_params, returns_best

NUM_BINS = 15


class Predictions(NamedTuple):
    """How well labels of held-out rows are predicted.

    :ivar log_loss: -log p(y|x), mean over the rows of each problem, ``(L,)`` in nats.
    :ivar accuracy: ``(L,)``.
    :ivar calibration_error: mean |confidence - accuracy| over ``NUM_BINS`` bins of the confidence, each weighed by the
        rows in it, of all problems together (expected calibration error; Guo et al. 2017, eq 3).
    """

    log_loss: Tensor
    accuracy: Tensor
    calibration_error: float


def weights_of_steps(path: Trajectory, stop: Tensor, cost: float, kl_scale: float = 1.0) -> dict[str, Tensor]:
    """Ways to weigh the steps 1..H, each ``(H, L)``: the own stop, the last step, q(t|x), and the exact posterior.

    The exact one is that of the flat price at the KL scale kappa of training: ~ e^(-(nll_t + cost t) / kappa).

    :param path: followed with a halting posterior, or q(t|x) is left out.
    """
    horizon, num = len(path.known), len(stop)
    steps = torch.arange(1, horizon + 1).unsqueeze(-1)
    found = {"at the stop": (steps == stop).double(), "at the last step": (steps == horizon).double().expand(-1, num)}
    if path.known[0].halted is not None:
        halted = torch.stack([known.halted for known in path.known if known.halted is not None])
        halted = torch.cat([torch.zeros_like(halted[:1]), halted[:-1], torch.ones_like(halted[:1])])
        found["averaged over q(t|x)"] = halted.diff(dim=0)
    found["averaged over the exact posterior"] = torch.softmax(-(path.nll[1:] + cost * steps) / kl_scale, 0)
    return found


def predict(
    rule: UpdateRule, optimizee: Optimizee, weights: Mapping[str, Tensor], looks: Looks | None = None
) -> dict[str, Predictions] | None:
    """Predictions of held-out labels by each weighing of the steps of ``rule``; None for what predicts no labels.

    One walk serves all; of the path only the weighed sums of probabilities are kept.

    :param optimizee: problems that do not diverge on the way.
    """
    with torch.no_grad():
        found = optimizee.held_out_labels(optimizee.theta0)
        if found is None or bool((found.labels < 0).all()):
            return None
        sums = {way: torch.zeros_like(found.probabilities, dtype=torch.float64) for way in weights}
        num_steps = len(next(iter(weights.values())))
        path = returned_params(rule, optimizee, num_steps, returns_best(rule, optimizee, looks))
        for step, params in enumerate(path):
            found = optimizee.held_out_labels(params)
            assert found is not None
            for way, of_steps in weights.items():
                weight = of_steps[step].to(found.probabilities.device)
                sums[way] += weight[:, None, None] * found.probabilities
        return {way: score(Labels(total.cpu(), found.labels.cpu())) for way, total in sums.items()}


def as_accurate(rule: UpdateRule, optimizee: Optimizee, num_steps: int, accuracy: float) -> int | None:
    """The fewest steps for all, up to ``num_steps``, that predict held-out labels with that accuracy; None for none.

    As ``predict``, of what returns theta_t itself.
    """
    with torch.no_grad():
        for step, params in enumerate(returned_params(rule, optimizee, num_steps, best=False), 1):
            found = optimizee.held_out_labels(params)
            if found is not None and float(score(found).accuracy.mean()) >= accuracy:
                return step
    return None


def score(said: Labels) -> Predictions:
    """Log loss, accuracy and calibration error of ``said``; rows with label -1 do not count."""
    counted = said.labels >= 0
    num = counted.sum(1)
    of_truth = said.probabilities.gather(-1, said.labels.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    confidence, guess = said.probabilities.max(-1)
    right = (guess == said.labels).double()

    def mean(values: Tensor) -> Tensor:
        return torch.where(counted, values, 0.0).sum(1) / num

    tiny = torch.finfo(torch.float64).tiny
    bins = (confidence[counted] * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    difference = torch.zeros(NUM_BINS, dtype=torch.float64)
    difference.index_add_(0, bins, (confidence - right)[counted].double())
    error = float(difference.abs().sum() / counted.sum())
    return Predictions(mean(-of_truth.clamp_min(tiny).log()), mean(right), error)
