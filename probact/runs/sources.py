"""What a command is given as a trained optimizer: a run's folder, a file that ``export`` wrote, or a shipped one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from probact.inference.posteriors.base import NO_HALTING
from probact.runs.experiment import Experiment
from probact.runs.run import RUNS, Run
from probact.runs.trained import TrainedOptimizer, shipped
from probact.support.files import expanded


def is_run(source: str) -> bool:
    """Whether it is a folder, and not a file or the name of a shipped optimizer.

    :raises ValueError: if it is none of these.
    """
    if source in shipped():
        return False
    if not expanded(source).exists():
        choices = ", ".join(shipped()) or "none is shipped"
        raise ValueError(f"{source}: no run there, no file, and no shipped optimizer ({choices})")
    return expanded(source).is_dir()


def best_of(source: str) -> TrainedOptimizer:
    """The optimizer at ``source``; of a run the weights, of all its seeds, that validated best."""
    return Run.open(expanded(source)).best().trained() if is_run(source) else TrainedOptimizer.find(source)


@dataclass(frozen=True)
class Candidate:
    """A trained optimizer to be judged.

    :ivar folder: the run's, or the one where a file's results go; its name is that of the optimizer.
    :ivar experiment: on what it is judged: its family, H and price of a step.
    :ivar settings: all that is known of its training.
    :ivar seeds: seed of the training -> optimizer; 0 where it is not known.
    """

    folder: Path
    experiment: Experiment
    settings: Mapping[str, Any]
    seeds: Mapping[int, TrainedOptimizer]

    @classmethod
    def open(cls, source: str, family: str | None, prior_nu: float | None = None) -> Self:
        """
        :param prior_nu: see ``Run.at``.
        :raises ValueError: if there is none, it is no run, which knows its family, and ``family`` is None, or it does
            not know other prices than its own.
        """
        if is_run(source):
            return cls.of_run(Run.open(expanded(source)).at(prior_nu))
        if family is None:
            raise ValueError(f"{source}: expected --family, what to judge it on, as it is not a run")
        one = TrainedOptimizer.find(source)
        if prior_nu not in (None, one.nu):
            raise ValueError(f"{source}: expected prior-nu {one.nu:g}, that of the file, got {prior_nu:g}")
        settings = {
            "rule": one.rule.name,
            "rule_options": dict(one.options),
            "halting": one.head_name or NO_HALTING,
            "prior_nu": one.nu,
            "horizon": one.horizon,
            "kl_scale": one.kl_scale,
            "safeguard": one.safeguard,
            "looks": one.looks is not None,
            "recall": one.looks is not None and one.looks.recall,
        }
        return cls(RUNS / Path(source).stem, Experiment.create(family=family, **settings), settings, {0: one})

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """All its seeds."""
        seeds = {chain.experiment.seed: chain.trained() for chain in run.chains}
        return cls(run.folder, run.experiment, asdict(run.experiment), seeds)
