"""What a trained run believes about halting: exact tables and draws, as the ``xarray.DataTree`` of a posterior file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from probact.inference.belief import Inference, draw_halting, infer
from probact.inference.objectives.base import Objective
from probact.inference.predictions import draw_observations
from probact.judging.own_stop import Stops, own_stops
from probact.problems.base import Optimizee
from probact.reports import posterior_file
from probact.reports.posterior_file import CHAIN_TABLES, STOPS
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream
from probact.support.version import __version__

_DRAWS = ("chain", "draw", "optimizee")
PREDICTED = 2**18
"""Observations that are drawn a chain."""


def to_datatree(
    experiment: Experiment,
    objectives: list[Objective],
    optimizee: Optimizee,
    *,
    num_draws: int = 250,
    seed: int = 0,
) -> xr.DataTree:
    """What every chain believes about the same problems, in the layout of ``posterior_file``.

    :param objectives: one for each chain, trained by ``experiment`` from its own seed.
    """
    random = random_stream("draws", seed)
    inferences = [infer(objective, optimizee) for objective in objectives]
    stops = [own_stops(experiment, objective, optimizee) for objective in objectives]
    tables = _tables(inferences, stops, optimizee)
    prior = inferences[0].prior
    T, t = (torch.stack(site) for site in zip(*(one.draw(num_draws, random) for one in inferences), strict=True))
    prior_T = prior.horizon_distribution().draw(t.shape, random)
    prior_table = prior.log_halting().unsqueeze(1).expand(-1, optimizee.num, -1)
    prior_t = draw_halting(prior_table, prior_T.flatten(0, 1), random).reshape(t.shape)

    steps = np.arange(1, experiment.horizon + 1)
    difficulty = tables["stop_oracle"][1].mean(0)
    problems = {"optimizee": np.arange(optimizee.num), "difficulty": ("optimizee", difficulty)}
    if (size := optimizee.size()) is not None:
        problems["size"] = ("optimizee", size.cpu().numpy())
    chains = {"chain": np.arange(len(objectives)), **problems}
    of_draw = {"draw": np.arange(num_draws), **chains}
    likelihood = -tables["loss_path"][1]
    at_draws = np.take_along_axis(likelihood[:, None], t.numpy()[..., None] - 1, -1)[..., 0]
    groups = {
        "posterior": xr.Dataset({"T": (_DRAWS, T.numpy()), "t": (_DRAWS, t.numpy())}, of_draw),
        "prior": xr.Dataset({"T": (_DRAWS, prior_T.numpy()), "t": (_DRAWS, prior_t.numpy())}, of_draw),
        "log_likelihood": xr.Dataset(
            {"x": (_DRAWS, at_draws), "x_by_step": (("chain", "optimizee", "step"), likelihood)},
            {**of_draw, "step": steps},
        ),
        "constant_data": xr.Dataset(tables, {**chains, "step": steps, "horizon": steps}),
    }
    observed = optimizee.observations()
    if observed is not None and observed.dim() == 2:
        groups["observed_data"] = xr.Dataset({"x": (("optimizee", "observation"), observed.cpu().numpy())}, problems)
    tree = xr.DataTree.from_dict({name: posterior_file.described(group) for name, group in groups.items()})
    tree["log_likelihood"]["x"].attrs = {"long_name": "log p(x|theta_t) at the t drawn", "units": "nats"}
    tree.attrs = _attributes(experiment, objectives[0].name, inferences[0].kl_scale, stops)
    return tree


def _attributes(experiment: Experiment, objective: str, tempered_at: float, stops: Sequence[Stops]) -> dict[str, Any]:
    return {
        "family": experiment.family,
        "rule": experiment.rule,
        "halting": experiment.halting,
        "objective": objective,
        "prior_nu": experiment.prior_nu,
        "horizon": experiment.horizon,
        "kl_scale": experiment.kl_scale,
        "tempered_at": tempered_at,
        "price": experiment.step_cost,
        "stop_rules": "; ".join(own.rule.describe() for own in stops),
        "stop_is_learned": int(all(own.rule.needs_posterior for own in stops)),
        "settings": experiment.to_json(),
        "inference_library": "probact",
        "inference_library_version": __version__,
    }


def add_predictions(tree: xr.DataTree, objectives: Sequence[Objective], optimizee: Optimizee, seed: int = 0) -> None:
    """Give ``tree``, of the same chains and problems, the group ``posterior_predictive`` where they predict a table."""
    observed = optimizee.observations()
    kept = torch.tensor(posterior_file.finite(tree).optimizee.values)
    if observed is None or observed.dim() != 2 or len(kept) == 0:
        return
    of_kept, problems = optimizee.select(kept.to(observed.device)), tree["posterior"].to_dataset().coords
    random = random_stream("draws", seed, 1)
    few = slice(max(1, PREDICTED // (len(kept) * observed.shape[1])))
    t = tree["posterior"].to_dataset().t.isel(draw=few, optimizee=kept)
    drawn = [
        draw_observations(one.rule, of_kept, torch.tensor(of_chain), random, one.unrolling.looks).cpu().float().numpy()
        for one, of_chain in zip(objectives, t.values, strict=True)
    ]
    data = xr.Dataset({"x": ((*_DRAWS, "observation"), np.stack(drawn))}, t.coords)
    data = data.reindex(optimizee=problems["optimizee"])
    data = data.assign_coords({name: problems[name] for name in ("difficulty", "size") if name in problems})
    tree["posterior_predictive"] = xr.DataTree(posterior_file.described(data))


def _tables(inferences: Sequence[Inference], stops: Sequence[Stops], optimizee: Optimizee) -> dict[str, Any]:
    """``constant_data``: name -> dimensions and values."""
    chains = [
        inference.tables() | {f"stop_{name}": steps for name, steps in zip(STOPS, own[1:], strict=True)}
        for inference, own in zip(inferences, stops, strict=True)
    ]
    tables: dict[str, Any] = {
        name: (("chain", *dims), np.stack([chain[name].numpy() for chain in chains]))
        for name, dims in CHAIN_TABLES.items()
    }
    optimum, prior = optimizee.optimum(), inferences[0].prior
    unknown = np.full(optimizee.num, np.nan)
    tables["optimum"] = ("optimizee", unknown if optimum is None else optimum.cpu().double().numpy())
    tables["prior_pmf"] = ("step", prior.log_marginal().exp().numpy())
    tables["horizon_prior"] = ("horizon", prior.log_horizon().exp().numpy())
    return tables
