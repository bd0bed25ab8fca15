"""Whether a class is a family of optimizees."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from probact.problems.base import FAMILIES, Optimizee, OptimizeeFamily, check_problems, value_and_grad
from probact.runs.experiment import Experiment
from probact.support.trees import Params, map_params
from probact.testing.properties import close, equal, finite, holds, label, precision
from probact.testing.small import NUM, problems


def check_family(kind: type[OptimizeeFamily], **options: Any) -> None:
    """Its problems: shapes and types, drawn by the generator alone, each with its own rows and gradient; its advice.

    :param options: keyword options of the family.
    :raises AssertionError: at the first property that does not hold.
    """
    part = label(FAMILIES, kind)
    with holds(part, "recommends settings of Experiment that it takes"):
        equal(sorted(set(kind.recommended) - {entry.name for entry in fields(Experiment)}), [])
        Experiment(**kind.recommended)
    for dtype in (torch.float32, torch.float64):
        with precision(dtype):
            _check_losses(part, kind.name, problems(kind.name, **options))
            _check_draws(part, *(problems(kind.name, seed=seed, **options) for seed in (0, 0, 1)))
    with precision(torch.float64):
        drawn = problems(kind.name, **options)
        _check_rows(part, drawn)
        _check_gradient(part, drawn)
        _check_predictive(part, drawn)
        _check_claims(part, kind, drawn)


def _check_losses(part: str, name: str, drawn: Optimizee) -> None:
    with holds(part, "its problems show what it says"):
        equal(sorted(str(sight) for sight in set(FAMILIES[name].shows) - set(drawn.shows)), [])
    with holds(part, "sample(5) draws 5 problems"):
        check_problems(drawn)
        equal(drawn.num, NUM)
    with holds(part, "nll at theta_0"):
        finite(drawn.nll(drawn.theta0), (NUM,))
    with holds(part, "loss at theta_0"):
        finite(drawn.loss(drawn.theta0, 3), (NUM,))
    with holds(part, "loss of a step is always the same"):
        close(drawn.loss(drawn.theta0, 3), drawn.loss(drawn.theta0, 3), rtol=0, atol=0)
    if not drawn.stochastic:
        with holds(part, "loss is nll, as it is not stochastic"):
            close(drawn.loss(drawn.theta0, 3), drawn.nll(drawn.theta0))
    score = drawn.test_score(drawn.theta0)
    if score is not None:
        with holds(part, "test_score has an entry a problem"):
            equal((tuple(score.loss.shape), tuple(score.accuracy.shape)), ((NUM,), (NUM,)))


def _check_predictive(part: str, drawn: Optimizee) -> None:
    predictive, x = drawn.predictive(drawn.theta0), drawn.observations()
    with holds(part, "has both predictive and observations, or neither"):
        equal(predictive is None, x is None)
    if predictive is None or x is None:
        return
    with holds(part, "log of predictive at observations is -nll"):
        close(predictive.log_prob(x), -drawn.nll(drawn.theta0))
    with holds(part, "predictive draws what observations are"):
        equal((predictive.sample().shape, predictive.sample().dtype), (x.shape, x.dtype))


def _check_draws(part: str, first: Optimizee, again: Optimizee, other: Optimizee) -> None:
    def moved(drawn: Optimizee) -> Params:
        """Off theta_0, which may be as good for all problems."""
        return map_params(
            lambda tensor: tensor + torch.linspace(0, 0.1, tensor[0].numel()).view(tensor.shape[1:]), drawn.theta0
        )

    nll = first.nll(moved(first))
    with holds(part, "the same generator gives the same problems"):
        close(again.nll(moved(again)), nll, rtol=0, atol=0)
    with holds(part, "another generator gives other problems"):
        equal(torch.equal(other.nll(moved(other)), nll), False)


def _check_rows(part: str, drawn: Optimizee) -> None:
    params = map_params(lambda tensor: tensor + 0.1 * torch.randn_like(tensor), drawn.theta0)
    index = torch.tensor([3, 1])
    chosen, some = drawn.select(index), map_params(lambda tensor: tensor[index], params)
    with holds(part, "nll of problem l reads row l only"):
        close(chosen.nll(some), drawn.nll(params)[index])
    with holds(part, "loss of problem l reads row l only"):
        close(chosen.loss(some, 7), drawn.loss(params, 7)[index])


def _check_gradient(part: str, drawn: Optimizee) -> None:
    """By finite differences, each problem's parameters moved alone."""
    theta0 = drawn.theta0
    values, grads = value_and_grad(drawn.nll, theta0)
    direction = map_params(torch.randn_like, theta0)
    slope = torch.stack([(grads[name] * direction[name]).flatten(1).sum(1) for name in grads]).sum(0)
    with holds(part, "gradient of nll"):
        close(values, drawn.nll(theta0))
        for problem in range(drawn.num):
            alone = map_params(torch.zeros_like, theta0)
            for name in alone:
                alone[name][problem] = 1e-7 * direction[name][problem]
            ahead, behind = (drawn.nll(map_params(move, theta0, alone)) for move in (torch.add, torch.sub))
            expected = torch.zeros_like(slope)
            expected[problem] = slope[problem]
            close((ahead - behind) / 2e-7, expected, rtol=1e-4, atol=1e-5)


def _check_claims(part: str, kind: type[OptimizeeFamily], drawn: Optimizee) -> None:
    nll, optimum = drawn.nll(drawn.theta0), drawn.optimum()
    if optimum is not None:
        with holds(part, "no nll is below the optimum"):
            finite(optimum, (NUM,))
            close(torch.minimum(nll, optimum), optimum)
    if kind.quadratic:
        path = [drawn.nll(map_params(lambda tensor, s=s: tensor + s, drawn.theta0)) for s in range(4)]
        with holds(part, "the third difference of a quadratic nll is 0"):
            close(path[3] - 3 * path[2] + 3 * path[1], path[0])
