"""What a trained run believes about halting: exact tables and draws, as the ``xarray.DataTree`` of ``beliefs``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probact.inference.belief import draw_halting, infer
from probact.inference.objectives.base import Objective
from probact.judging.own_stop import own_stops
from probact.problems.base import Optimizee
from probact.reports.posterior_file import CHAIN_TABLES, STOPS
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream


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
    random = random_stream("draws", seed)
    inferences = [infer(objective, optimizee) for objective in objectives]
    stops = [own_stops(experiment, objective, optimizee) for objective in objectives]
    chains = [
        inference.tables() | {f"stop_{name}": steps for name, steps in zip(STOPS, own[1:], strict=True)}
        for inference, own in zip(inferences, stops, strict=True)
    ]
    prior = inferences[0].prior
    draws = [inference.draw(num_draws, random) for inference in inferences]
    shape = (len(objectives), num_draws, optimizee.num)
    prior_T = prior.horizon_distribution().draw(shape, random)
    prior_table = prior.log_halting().unsqueeze(1).expand(-1, optimizee.num, -1)
    prior_t = draw_halting(prior_table, prior_T.flatten(0, 1), random).reshape(shape)

    steps = np.arange(1, experiment.horizon + 1)
    coords = {"optimizee": np.arange(optimizee.num), "step": steps, "horizon": steps}
    chain, draw = list(range(len(objectives))), np.arange(num_draws)
    draw_coords = {"chain": chain, "draw": draw, "optimizee": coords["optimizee"]}
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
        "tempered_at": inferences[0].kl_scale,
        "price": experiment.step_cost,
        "stop_rules": "; ".join(own.rule.describe() for own in stops),
        "inference_library": "probact",
    }
    return tree
