"""A run trained to its end, checkpoints on the way, and the ranks that follow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from probact.problems.data.sets import VARIABLE, data_directory, data_directory_is
from probact.runs.assembly import build_objective, check_trainable
from probact.runs.experiment import Experiment
from probact.runs.run import Chain, Record
from probact.runs.trained import TrainedOptimizer
from probact.support.files import remove_halves
from probact.support.locks import held, is_held
from probact.support.lost import MainLostError, ProcessLostError
from probact.support.plugins import import_plugins, imported_plugins
from probact.support.ranks import Ranks
from probact.training.loggers.base import logging_of
from probact.training.meta_training import MetaTraining
from probact.unrolling.border import check_parts

SECONDS_BETWEEN_SAVES = 10.0


def train(
    chain: Chain, on_record: Callable[[Record], None], should_stop: Callable[[], bool], ranks: Ranks | None = None
) -> bool:
    """Train ``chain`` to its end from wherever its checkpoint is; True if it got there.

    The checkpoint is written before the first meta-step, every few seconds, when ``should_stop`` says so, when a rank
    is lost, and at the end.

    :raises ValueError: if another process trains it.
    """
    with held(chain.lock):
        ranks = ranks or Ranks()
        training = _begun(chain, ranks)
        with logging_of(chain) as log:
            return _train(training, chain, (log, on_record), should_stop, ranks)


def begin(chain: Chain) -> None:
    """Write the checkpoint from before the first meta-step, so that there is one however early a kill comes."""
    with held(chain.lock):
        _begun(chain, Ranks())


def _begun(chain: Chain, ranks: Ranks) -> MetaTraining:
    training = MetaTraining(chain.experiment, ranks)
    restore(chain, training)
    if not chain.checkpoint.exists():
        chain.save(training.state_dict())
    return training


def _train(
    training: MetaTraining,
    chain: Chain,
    told: Sequence[Callable[[Record], None]],
    should_stop: Callable[[], bool],
    ranks: Ranks,
) -> bool:
    begun_at, last_save = training.step, time.monotonic()
    try:
        if not ranks.alone:
            order = {"experiment": chain.experiment.to_json(), "state": training.state_dict()}
            places = {"data": data_directory(), "run": chain.run_folder, "lock": chain.lock.absolute()}
            ranks.broadcast(
                {**order, **{name: str(path) for name, path in places.items()}, "plugins": imported_plugins()}
            )
        for record in training:
            chain.log(record)
            for tell in told:
                tell(record)
            if should_stop() or time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
                chain.save(training.state_dict())
                last_save = time.monotonic()
            if should_stop():
                return training.step >= chain.experiment.meta_steps
    except ProcessLostError:
        chain.save(training.state_dict())
        raise
    if training.step > begun_at:  # a finished training stays as it is
        chain.save(training.state_dict())
    return True


def check(experiment: Experiment, num_ranks: int = 1) -> None:
    """Refuse what ``num_ranks`` processes cannot train, before anything is written: its parts, and its problems.

    :raises ValueError: with the reason.
    """
    check_trainable(experiment, num_ranks)
    check_parts(experiment.build_family(), build_objective(experiment).rule)


def restore(chain: Chain, training: MetaTraining) -> None:
    """Continue ``training`` from the checkpoint, or start it if there is none; cut the metrics back to it.

    Removes what a kill left half written.
    """
    for path in (chain.checkpoint, chain.metrics):
        remove_halves(path)
    if chain.checkpoint.exists():
        state = chain.state()
        with chain.fitting():
            training.load_state_dict(state)
    elif chain.begun is not None:
        training.start_from(TrainedOptimizer.load(chain.begun))
    chain.cut_metrics(training.step)


def train_as_rank(ranks: Ranks) -> None:
    """What the ranks beside rank 0 do: train in step with its ``train``, chain after chain, until it dismisses them.

    :raises ProcessLostError: if rank 0 ended without that, as it does after an error.
    :raises MainLostError: if it did so in the midst of a training.
    """
    while (order := ranks.broadcast()) is not None:
        try:
            _follow(ranks, order)
        except ProcessLostError:
            if not is_held(Path(order["lock"])):  # rank 0 is gone and cannot say so
                raise MainLostError(order["run"]) from None
            raise
    ranks.leave()


def _follow(ranks: Ranks, order: dict[str, Any]) -> None:
    """Train as rank 0 does that sent ``order``."""
    import_plugins(order["plugins"])
    experiment, theirs = Experiment.from_json(order["experiment"]), Path(order["data"])
    ranks.use_device(experiment.device)
    training = MetaTraining(experiment, ranks)
    training.load_state_dict(order["state"])
    with data_directory_is(theirs) if theirs.is_dir() and VARIABLE not in os.environ else nullcontext():
        for _ in training:
            if ranks.should_stop():
                break
