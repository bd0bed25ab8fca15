"""Optuna's tree-structured Parzen estimator on many functions, as a search that ``benchmarks/search.py`` can judge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from probact.problems.black_box import Regret
from probact.rules.base import Step
from probact.rules.searches import SearchRule
from probact.support.trees import Params, State, flatten, unflatten

STARTS = (3, 10)
"""Random trials at the start; 10 is Optuna's default, which costs it half of a short search."""


class Replayed(SearchRule):
    """Asks what was asked before: ``queries (H, L, d)``."""

    def __init__(self, queries: Tensor) -> None:
        super().__init__()
        self.queries = queries

    def init(self, params: Params) -> State:
        return (flatten(params).new_zeros(len(flatten(params))),)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        flat, step = flatten(params), int(state[0][0])
        query = self.queries[min(step, len(self.queries) - 1)].to(flat)
        return Step(unflatten(query - flat, params), (state[0] + 1,), loss.new_empty(len(loss), 0))


def asked_by_tpe(problems: Regret, horizon: int, start: int) -> Replayed:
    """What it asks of each function; the seed is the function's number."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = [_asked(optuna, problems.select(torch.tensor([row])), horizon, start, row) for row in range(problems.num)]
    return Replayed(torch.tensor(rows, dtype=torch.float64).transpose(0, 1))


def _asked(optuna: object, one: Regret, horizon: int, start: int, seed: int) -> Sequence[Sequence[float]]:
    dim = one.theta0["x"].shape[1]
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=start)  # type: ignore[attr-defined]
    study = optuna.create_study(sampler=sampler)  # type: ignore[attr-defined]
    points = []
    for _ in range(horizon):
        trial = study.ask()
        points.append([trial.suggest_float(f"x{axis}", 0, 1) for axis in range(dim)])
        study.tell(trial, float(one.value({"x": torch.tensor([points[-1]], dtype=one.theta0["x"].dtype)})))
    return points
