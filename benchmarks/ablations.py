"""The known faults of the prior code, one at a time: writes ``benchmarks/results/ablations.json``.

    python benchmarks/ablations.py

``two nus``          p(T) at 0.945 with p(t|T) at 0.9: what becomes of the geometric marginal.
``KL over batch``    the prior normalised over the whole batch matrix: the KL that would be reported.
``r^4``              trained on the likelihood that squares the residual twice, judged on the true Student-t.
``coordinate mean``  halting from the mean hidden state of the coordinates alone, without the problem's own signals.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from probact.inference import exact
from probact.inference.priors import Prior
from probact.judging.problem_sets import held_out_problems, tuning_problems
from probact.judging.stops import oracle, shares, verdicts
from probact.judging.trajectory import loss_curve, record
from probact.runs.experiment import Experiment
from probact.support.files import write_atomically
from probact.support.statistics import rank_correlation
from probact.training.meta_training import MetaTraining

RESULT = Path(__file__).resolve().parent / "results" / "ablations.json"
STEPS = 300


def train(experiment: Experiment, features: slice | None = None) -> MetaTraining:
    """Train to the end; with ``features`` the head sees those alone."""
    training = MetaTraining(experiment)
    if features is not None and training.objective.posterior is not None:
        memory = training.objective.posterior.memory
        seen = torch.zeros(memory.input_size)
        seen[features] = 1
        memory.register_forward_pre_hook(lambda _, given: (given[0] * seen, *given[1:]))
    for row in training:
        if row.validation is not None:
            print(f"  {experiment.family} {row.step}/{experiment.meta_steps}: {row.validation:.4g}", flush=True)
    training.objective.load_state_dict(training.best_weights)
    return training


def two_nus() -> dict[str, Any]:
    horizon = 2000
    T, t = Prior(0.945, horizon).log_horizon().exp().double(), Prior(0.9, horizon).log_halting().exp().double()
    marginal, steps = T @ t, torch.arange(1, horizon + 1).double()
    geometric = {nu: (1 - nu) * nu ** (steps - 1) for nu in (0.9, 0.945)}
    tied = Prior(0.9, horizon).marginal().log_pmf.exp().double()
    return {
        "mean_step": float(marginal @ steps),
        "mean_step_of_geometric": {str(nu): float(pmf @ steps) for nu, pmf in geometric.items()},
        "distance_to_geometric": {str(nu): float(0.5 * (marginal - pmf).abs().sum()) for nu, pmf in geometric.items()},
        "distance_when_tied": float(0.5 * (tied - geometric[0.9]).abs().sum()),
    }


def kl_over_batch() -> dict[str, Any]:
    experiment = Experiment.create(family="regression", halting="softmax", meta_steps=STEPS)
    training = train(experiment)
    objective, problems = training.objective.eval(), held_out_problems(experiment, 1000)
    with torch.no_grad():
        rollout = objective.unroll(problems)
        q = objective.halting(rollout)
    assert q is not None
    prior, last = objective.prior, q.log_last_row()
    log_prior = prior.log_halting()[-1].unsqueeze(-1).expand_as(last)
    over_batch = log_prior - torch.logsumexp(log_prior.flatten(), 0)
    kl = {
        "true": (last.exp() * (last - log_prior)).sum(0).mean(),
        "over the batch": (last.exp() * (last - over_batch)).sum(0).mean(),
    }
    bound = exact.elbo(q, prior, rollout.log_likelihood).mean()
    return {**{name: float(value) for name, value in kl.items()}, "log_batch": math.log(1000), "elbo": float(bound)}


def r4() -> dict[str, Any]:
    result = {}
    for family in ("student-t", "student-t-r4"):
        experiment = Experiment.create(family=family, halting="none", meta_steps=2 * STEPS)
        rule = train(experiment).objective.rule
        problems = held_out_problems(Experiment.create(family="student-t"), 4096)
        nll = loss_curve(rule, problems, 100).double()
        result[f"trained on {family}"] = {str(step): float(nll[step].mean()) for step in (10, 20, 50, 100)}
    return result


def coordinate_mean() -> dict[str, Any]:
    result = {}
    for name, features in (("all signals", slice(None)), ("coordinate mean", slice(0, 20))):
        experiment = Experiment.create(
            family="mixed",
            rule="lstm",
            horizon=100,
            halting="stick-breaking",
            halting_first=True,
            meta_steps=STEPS,
            validation_problems=512,
        )
        objective = train(experiment, features).objective.eval()
        cost = experiment.step_cost
        test, tuning = (
            record(objective.rule, problems, experiment.horizon, objective.posterior)
            for problems in (held_out_problems(experiment, 4096), tuning_problems(experiment))
        )
        found = verdicts(test, tuning, cost)
        share = dict(zip((verdict.kind for verdict in found), shares(found), strict=True))
        hazard = next(verdict for verdict in found if verdict.kind == "hazard")
        summary = hazard.summary()
        result[name] = {
            "share": share["hazard"],
            "rank_correlation": rank_correlation(hazard.stop.numpy(), oracle(test, cost).numpy()),
            "J": summary.J,
            "steps": summary.steps,
            "steps_sd": summary.steps_sd,
        }
    return result


if __name__ == "__main__":
    results = {
        "two nus": two_nus(),
        "KL over batch": kl_over_batch(),
        "r^4": r4(),
        "coordinate mean": coordinate_mean(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    write_atomically(RESULT, json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
