"""How much of the amortisation gap no head could close: the best logits of each posterior, chosen in hindsight.

    python benchmarks/structural_gap.py        # after: python benchmarks/fits.py regression mixed

For the held-out losses of trained runs, the logits of every problem are optimised directly on the bound; what is left
is the posterior's own limit.  Writes ``benchmarks/results/structural_gap.json`` (nats, mean over problems).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from fits import RESULTS, ROOT

from probact.inference import exact
from probact.inference.belief import infer
from probact.inference.posteriors.base import POSTERIORS, HaltingDistribution
from probact.inference.priors import Prior
from probact.judging.problem_sets import held_out_problems
from probact.runs.run import Run
from probact.support.files import write_atomically

RUNS = ("regression", "mixed")
NAMES = ("stick-breaking", "truncated", "softmax")
PROBLEMS = 256
UPDATES = 600


def best_gap(posterior: type[HaltingDistribution], prior: Prior, log_likelihood: torch.Tensor) -> float:
    """Mean amortisation gap of the best logits that Adam finds from the posterior's start."""
    logits = torch.full_like(log_likelihood, posterior.initial_bias(float(prior.nu))).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(UPDATES):
        optimizer.zero_grad()
        (-exact.elbo(posterior(logits), prior, log_likelihood).mean()).backward()
        optimizer.step()
    log_horizon = prior.log_horizon().unsqueeze(-1).expand_as(log_likelihood)
    return float(exact.gaps(posterior(logits.detach()), prior, log_likelihood, log_horizon).amortisation.mean())


def main() -> None:
    result: dict[str, dict[str, float]] = {}
    for name in RUNS:
        run = Run.open(Path(ROOT / "runs" / f"benchmark-{name}"))
        inference = infer(run.chains[0].load(), held_out_problems(run.experiment, PROBLEMS, seed=1))
        log_likelihood = inference.rollout.log_likelihood
        result[name] = {which: best_gap(POSTERIORS[which], inference.prior, log_likelihood) for which in NAMES}
        print(name, {which: round(gap, 4) for which, gap in result[name].items()})
    write_atomically(RESULTS / "structural_gap.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
