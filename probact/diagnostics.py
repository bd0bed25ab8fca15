"""What a trained run believes about halting: exact tables and draws, as the ``xarray.DataTree`` of ``beliefs``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probact import exact
from probact.beliefs import CHAIN_TABLES
from probact.experiment import Experiment, generator
from probact.objectives import Objective
from probact.optimizees.base import Optimizee
from probact.posteriors import HaltingDistribution
from probact.priors import Prior, Steps
from probact.rollout import Rollout

TABLE_ENTRIES = 2**24
"""Entries of the largest table (T, L, t) that is held at once."""


class Inference(NamedTuple):
    """A rollout of H steps with its prior and, where there is one, its guide; draws come from here."""

    rollout: Rollout
    prior: Prior
    q: HaltingDistribution | None
    log_horizon: Tensor
    """log q(T|x), ``(T, L)``."""

    def tables(self) -> dict[str, Tensor]:
        """The exact tables, named as ``beliefs.CHAIN_TABLES``."""
        log_likelihood = self.rollout.log_likelihood
        evidence = exact.log_evidence(self.prior, log_likelihood)
        exact_pmf = exact.log_posterior(self.prior, log_likelihood).exp().T
        exact_horizon = exact.log_horizon_posterior(self.prior, log_likelihood).exp().T
        if self.q is None:
            # Without a guide the exact posterior stands in its place, and there is no bound.
            halt_pmf, horizon_pmf = exact_pmf, exact_horizon
            unknown = torch.full_like(evidence, torch.nan)
            gaps = exact.Gaps(unknown, evidence, unknown, unknown)
        else:
            halt_pmf, horizon_pmf = self.q.log_marginal(self.log_horizon).exp().T, self.log_horizon.exp().T
            gaps = exact.gaps(self.q, self.prior, log_likelihood, self.log_horizon)
        return {
            "halt_pmf": halt_pmf,
            "exact_pmf": exact_pmf,
            "horizon_pmf": horizon_pmf,
            "exact_horizon_pmf": exact_horizon,
            "loss_path": self.rollout.nll[1:].T,
            "initial_loss": self.rollout.nll[0],
            "elbo": gaps.elbo,
            "log_evidence": gaps.log_evidence,
            "amortisation_gap": gaps.amortisation,
            "horizon_gap": gaps.horizon,
        }

    def draw(self, num_draws: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """(T, t) from the guide (the exact posterior without one), each ``(num_draws, L)`` int64."""
        T = Steps(self.log_horizon.T).draw((num_draws,), random)
        some = max(1, TABLE_ENTRIES // len(self.log_horizon) ** 2)
        parts = [
            _draw_halting(self._log_halting(problems), T[:, problems], random)
            for problems in torch.arange(T.shape[1]).split(some)
        ]
        return T, torch.cat(parts, 1)

    def _log_halting(self, problems: Tensor) -> Tensor:
        """log q(t|x,T) of some problems (the exact posterior without a guide), ``(T, L, t)``."""
        if self.q is None:
            return exact.log_posterior_given_horizon(self.prior, self.rollout.log_likelihood[:, problems])
        return type(self.q)(self.q.logits[:, problems]).log_prob()


def _draw_halting(table: Tensor, T: Tensor, random: torch.Generator) -> Tensor:
    """t given ``T (num_draws, L)`` from ``table (T, L, t)`` of log p(t|T), a draw at a time to bound the memory."""
    problem = torch.arange(T.shape[1])
    return torch.stack([Steps(table[row - 1, problem], validate_args=False).draw((), random) for row in T])


def infer(objective: Objective, optimizee: Optimizee) -> Inference:
    """Unroll H steps on ``optimizee`` and put everything on the CPU in double precision."""
    with torch.no_grad():
        rollout = objective.eval().unroll(optimizee)
        q = objective.halting(rollout)
        rollout = Rollout(rollout.nll.cpu().double(), rollout.features.cpu().double(), {})
        prior = Prior(torch.tensor(float(objective.prior.nu), dtype=torch.float64), objective.prior.horizon)
        if q is None:
            log_horizon = exact.log_horizon_posterior(prior, rollout.log_likelihood)
        else:
            q = type(q)(q.logits.cpu().double())
            log_horizon = objective.log_horizon(q, prior, rollout.log_likelihood)
        return Inference(rollout, prior, q, log_horizon)


def to_datatree(
    experiment: Experiment,
    objectives: list[Objective],
    optimizee: Optimizee,
    *,
    num_draws: int = 250,
    seed: int = 0,
) -> xr.DataTree:
    """What every chain believes about the same problems, in the layout of ``beliefs``.

    :param objectives: one for each chain, trained by ``experiment`` from its own seed.
    """
    random = generator("draws", seed)
    inferences = [infer(objective, optimizee) for objective in objectives]
    chains = [inference.tables() for inference in inferences]
    prior = inferences[0].prior
    draws = [inference.draw(num_draws, random) for inference in inferences]
    shape = (len(objectives), num_draws, optimizee.num)
    prior_T = prior.horizon_distribution().draw(shape, random)
    prior_table = prior.log_halting().unsqueeze(1).expand(-1, optimizee.num, -1)
    prior_t = _draw_halting(prior_table, prior_T.flatten(0, 1), random).reshape(shape)

    steps = np.arange(1, experiment.horizon + 1)
    coords = {"optimizee": np.arange(optimizee.num), "step": steps, "horizon": steps}
    draw_coords = {
        "chain": list(range(len(objectives))),
        "draw": np.arange(num_draws),
        "optimizee": coords["optimizee"],
    }
    tables: dict[str, Any] = {}
    for name, dims in CHAIN_TABLES.items():
        values = np.stack([chain[name].numpy() for chain in chains])
        tables[name] = (("chain", *dims), values) if len(chains) > 1 else (dims, values[0])
    optimum = optimizee.optimum()
    unknown = np.full(optimizee.num, np.nan)
    tables["optimum"] = ("optimizee", unknown if optimum is None else optimum.cpu().double().numpy())
    tables["prior_pmf"] = ("step", prior.log_marginal().exp().numpy())
    tables["horizon_prior"] = ("horizon", prior.log_horizon().exp().numpy())

    def sites(T: Tensor, t: Tensor) -> xr.Dataset:
        dims = ("chain", "draw", "optimizee")
        return xr.Dataset({"T": (dims, T.numpy()), "t": (dims, t.numpy())}, coords=draw_coords)

    tree = xr.DataTree.from_dict(
        {
            "posterior": sites(torch.stack([T for T, _ in draws]), torch.stack([t for _, t in draws])),
            "prior": sites(prior_T, prior_t),
            "constant_data": xr.Dataset(tables, coords=coords),
        }
    )
    tree.attrs = {
        "family": experiment.family,
        "rule": experiment.rule,
        "halting": experiment.halting,
        "prior_nu": experiment.prior_nu,
        "horizon": experiment.horizon,
        "kl_scale": experiment.kl_scale,
        "inference_library": "probact",
    }
    return tree
