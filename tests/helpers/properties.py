"""What each room promises, as functions: sound code keeps it in the ordinary tests, each planted fault breaks it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, distributed

from probact.inference.belief import infer
from probact.inference.objectives.base import Objective
from probact.judging.curves.base import CurveRule
from probact.judging.curves.evaluation import evaluate_curves
from probact.judging.curves.prices import Price, Priced
from probact.judging.problem_sets import held_out_problems, tuning_problems
from probact.judging.stops import stop_by
from probact.judging.trajectory import loss_curve, record
from probact.problems.base import Optimizee
from probact.reports import posterior_file
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.runs.run import Chain, Run
from probact.stopping.base import Known, StopRule
from probact.stopping.online import Stopped, run_until_stopped
from probact.support.randomness import random_stream
from probact.support.ranks import TIMEOUT, Ranks
from probact.support.trees import flatten
from probact.training.loop import restore, train
from probact.training.meta_training import MetaTraining
from tests.helpers.curves import curves_of, drawn_curves
from tests.helpers.trainings import same


# judging
def assert_problem_sets_are_apart(experiment: Experiment) -> None:
    """No problem is in two of the sets for training, validation, tuning and test, all drawn equally large."""
    family, tuning = experiment.build_family(), tuning_problems(experiment)
    drawn = [tuning, held_out_problems(experiment, tuning.num)]
    drawn += [family.sample(tuning.num, random_stream(stream, 0)) for stream in ("train", "validation")]
    starts = torch.cat([flatten(problems.theta0) for problems in drawn])
    assert len(starts.unique(dim=0)) == len(starts)


def assert_baselines_are_tuned(experiment: Experiment, data: xr.Dataset) -> None:
    """Each baseline of ``compare``'s ``data`` is, at each step, at one of its two best rates on the tuning problems."""
    tuning, test = tuning_problems(experiment), held_out_problems(experiment)
    for entry, name in enumerate(data.optimizer.values.tolist()):
        for place, step in enumerate(data["at"].values.tolist() if name in RULES else ()):
            on_tuning = {
                lr: float(loss_curve(RULES[name](lr=lr), tuning, step)[-1].mean()) for lr in RULES[name].learning_rates
            }
            lr = float(data.learning_rate[entry, place])
            assert lr in sorted(on_tuning, key=on_tuning.__getitem__)[:2], (name, step)
            expected = loss_curve(RULES[name](lr=lr), test, step)[-1].numpy()
            np.testing.assert_allclose(data.loss[entry, place], expected, rtol=1e-6)


def assert_sees_no_later_look(rule: CurveRule) -> None:
    """Whatever comes after look t, the scores of looks 0..t stay what they are."""
    seen = Priced.of(drawn_curves("drawn"), Price(0.01)).looks
    before = rule.scores(seen)
    for t in (0, 1, 7, 30):
        later = np.arange(seen.valid.shape[1]) > t
        changed = seen._replace(valid=np.where(later, 1e9, seen.valid), train=np.where(later, 1e-9, seen.train))
        np.testing.assert_array_equal(rule.scores(changed)[:, : t + 1], before[:, : t + 1])


def assert_settings_are_of_others() -> None:
    """However the curves of a data set look, the settings by which it is judged stay what they are."""
    prices = [Price(0.001), Price(0.02)]
    other, mine = drawn_curves("other"), drawn_curves("mine", seed=1)
    upside_down = curves_of("mine", [[10.0 + t for t in range(41)]] * 12)
    for tune_on in ([], [drawn_curves("third", seed=2)]):
        found, spoilt = (
            [
                (row.way, row.price, row.setting)
                for row in evaluate_curves([other, judged], prices, tune_on).rows
                if row.data_set == "mine"
            ]
            for judged in (mine, upside_down)
        )
        assert found == spoilt


# stopping
def assert_scores_are_causal(scores: Callable[[Sequence[Known]], Tensor], path: Sequence[Known]) -> None:
    """Later steps change no score."""
    whole = scores(path)
    for num in range(1, len(path)):
        torch.testing.assert_close(scores(path[:num]), whole[:num], rtol=0, atol=0)


def assert_stops_where_the_replay_says(built: Objective, optimizee: Optimizee, stop: StopRule) -> None:
    """The run obeys ``stop`` as if it had been read off the recorded path, and is worth what that says."""
    horizon, cost = built.prior.horizon, 0.05
    ran = run_until_stopped(built.rule, optimizee, horizon, stop, built.posterior)
    verdict = stop_by(stop, record(built.rule, optimizee, horizon, built.posterior), cost)
    assert ran.step.tolist() == verdict.stop.tolist()
    torch.testing.assert_close(ran.nll.double() + cost * ran.step, verdict.J, rtol=1e-4, atol=1e-4)


def assert_compaction_changes_nothing(built: Objective, optimizee: Optimizee, stop: StopRule) -> Stopped:
    """Each problem stops where, and at what, it would if no other left the batch; gives back the compacted run."""
    compact, whole = (
        run_until_stopped(built.rule, optimizee, built.prior.horizon, stop, built.posterior, compact=leave)
        for leave in (True, False)
    )
    assert compact.step.tolist() == whole.step.tolist()
    for name, tensor in compact.params.items():
        torch.testing.assert_close(tensor, whole.params[name], rtol=1e-6, atol=1e-6)
    assert compact.steps_computed <= whole.steps_computed
    return compact


# runs and training
def assert_resumes_bit_for_bit(experiment: Experiment, folder: Path, stop_after: int = 3) -> None:
    """Interrupted after ``stop_after`` meta-steps and continued: the weights and records of an unbroken training."""
    whole, resumed = MetaTraining(experiment), MetaTraining(experiment)
    list(whole)
    (chain,) = Run.create(folder, experiment, [experiment.seed]).chains
    assert not train(chain, lambda record: None, lambda: len(chain.records()) >= stop_after)
    assert train(chain, lambda record: None, lambda: False)
    restore(chain, resumed)
    assert same(resumed.objective.state_dict(), whole.objective.state_dict())
    assert same(resumed.best_weights, whole.best_weights)
    assert [record["step"] for record in chain.records()] == list(range(1, experiment.meta_steps + 1))


# support
def assert_ranks_add_up(kind: Callable[[int, int], Ranks]) -> None:
    """Three ranks share eight problems: each problem is one rank's, and each rank counts once."""
    values = torch.randn(8, 2, dtype=torch.float64)
    ranks = [kind(rank, 3) for rank in range(3)]
    assert sorted(problem for one in ranks for problem in one.part(8)) == list(range(8))

    def found(one: Ranks) -> tuple[Tensor, list[int]]:
        part = one.part(8)
        return one.mean(values[list(part)].mean(0), len(part), [1, len(part)])

    for mean, counts in _in_step(ranks, found):
        torch.testing.assert_close(mean, values.mean(0))
        assert counts == [3, 8]


def _in_step(ranks: list[Ranks], work: Callable[[Ranks], Any]) -> list[Any]:
    """``work`` of each rank, in threads that exchange over gloo as processes do."""
    store, here = distributed.HashStore(), threading.local()

    def follow(one: Ranks) -> Any:
        here.group = distributed.ProcessGroupGloo(store, one.rank, one.num_ranks, TIMEOUT)
        return work(one)

    def all_reduce(total: Tensor, async_op: bool) -> Any:
        return here.group.allreduce([total])

    with patch.object(distributed, "all_reduce", all_reduce), ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(follow, ranks))


def assert_survives_a_full_disk(chain: Chain) -> None:
    """A checkpoint that no longer fits is an error, and leaves the one before as it was."""
    chain.save({"step": 1, "weights": {"w": torch.ones(100)}})
    full = OSError(28, "No space left on device")
    with patch.object(os, "fsync", side_effect=full), pytest.raises(OSError, match="No space left"):
        chain.save({"step": 2, "weights": {"w": torch.zeros(100)}})
    try:
        state = chain.state()
    except ValueError as error:
        raise AssertionError("the checkpoint before is lost") from error
    assert state["step"] == 1
    assert bool(state["weights"]["w"].eq(1).all())


# reports
def assert_tree_is_of(tree: xr.DataTree, objectives: Sequence[Objective], optimizee: Optimizee) -> None:
    """Chain and problem by themselves give the file's tables, and its draws follow them."""
    data, draws = posterior_file.tables(tree), tree["posterior"]
    num_draws, horizon = draws.sizes["draw"], data.sizes["step"]
    for chain, objective in enumerate(objectives):
        for problem in range(optimizee.num):
            alone = infer(objective, optimizee.select(torch.tensor([problem]))).tables()
            for name, values in alone.items():
                ours = data[name].values[chain, problem]
                np.testing.assert_allclose(ours, values[0].numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
            drawn = draws.t.values[chain, :, problem]
            frequency = np.bincount(drawn, minlength=horizon + 1)[1:] / num_draws
            assert np.abs(frequency - data.halt_pmf.values[chain, problem]).max() < 5 * (0.25 / num_draws) ** 0.5
