"""A run's folder: what is in it, how it is found again.

::

    RUN/experiment.json   settings and seeds          RUN/posterior.nc    DataTree for ArviZ
    RUN/checkpoint.pt     weights and training state  RUN/summary.json    losses, halting statistics
    RUN/metrics.jsonl     one record a meta-step      RUN/figures/*.png
    RUN/lock              held while it is trained    RUN/nu.nc           posterior of nu, by halt-stats
    RUN/loggers.json      names given to --log        RUN/log/            what those write
    RUN/plugins.json      modules given to --import

A run that began with a trained optimizer keeps a copy of it, ``RUN/begin.pt``, so that it does not need it again.
With several seeds, checkpoint, metrics, lock and log lie in ``RUN/seed-<s>/``: each is a chain of ``posterior.nc``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from probact.inference.objectives.base import Objective
from probact.rules.safeguarded import bare
from probact.runs import metrics
from probact.runs.assembly import build_objective, start_from
from probact.runs.experiment import Experiment, checked, settings_in
from probact.runs.plugins import missing_plugins, note_plugins
from probact.runs.record import NEEDED, Record as Record
from probact.runs.trained import TrainedOptimizer
from probact.support.devices import check_device
from probact.support.files import write_atomically
from probact.support.locks import held
from probact.support.missing import MissingError
from probact.support.registry import UnknownPartError
from probact.support.tensor_files import load_tensors, save_tensors

FORMAT = "probact checkpoint 1"
RUNS = Path("runs")
LATEST = RUNS / "latest"
_WRITTEN = ("checkpoint.pt", "metrics.jsonl", "posterior.nc", "summary.json", "seed-*/*.*")
"""What a run leaves in its folder, apart from ``experiment.json``."""


@dataclass(frozen=True)
class Chain:
    """One training: its experiment (with its seed) and the folder of its checkpoint and metrics.

    :ivar begun: the file of the optimizer that it began with, or None.
    """

    experiment: Experiment
    folder: Path
    begun: Path | None = None

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def lock(self) -> Path:
        """What the process that trains it holds."""
        return self.folder / "lock"

    @property
    def run_folder(self) -> Path:
        """Of the run that it belongs to."""
        return self.folder if (self.folder / "experiment.json").exists() else self.folder.parent

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the checkpoint of a training whose ``state_dict`` is ``state``, after the metrics that it counts on."""
        metrics.sync(self.metrics)
        save_tensors(self.checkpoint, {"format": FORMAT, "experiment": self.experiment.to_json(), **state})

    def state(self) -> dict[str, Any]:
        """What ``save`` was given.

        :raises ValueError: if there is no checkpoint or it is damaged.
        """
        if not self.checkpoint.exists():
            raise MissingError(f"{self.folder}: no checkpoint.pt", "training", self.run_folder)
        content = load_tensors(self.checkpoint, "probact checkpoint")
        if content.get("format") != FORMAT:
            raise ValueError(f"{self.checkpoint}: expected format {FORMAT!r}, got {content.get('format')!r}")
        return content

    @property
    def is_finished(self) -> bool:
        """Whether all meta-steps are made."""
        return self.checkpoint.exists() and bool(self.state().get("step", 0) >= self.experiment.meta_steps)

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Within, what does not fit in the checkpoint is an error that names it.

        :raises ValueError: in place of what loading ``state`` raises.
        """
        try:
            yield
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{self.checkpoint}: does not fit this run's experiment.json ({reason})") from None

    def cut_metrics(self, step: int) -> None:
        """Drop the records after meta-step ``step``."""
        metrics.cut(self.metrics, step, NEEDED)

    def untrained(self) -> Objective:
        """The objective as it was before the first meta-step."""
        objective = build_objective(self.experiment)
        if self.begun is not None:
            start_from(objective, TrainedOptimizer.load(self.begun), self.experiment)
        return objective

    def load(self) -> Objective:
        """The trained objective, with the weights that validated best.

        :raises ValueError: if there is no checkpoint or it is damaged.
        """
        objective, state = build_objective(self.experiment), self.state()
        with self.fitting():
            objective.load_state_dict(state["best_weights"])
        return objective.eval()

    def trained(self) -> TrainedOptimizer:
        """What ``load`` gives, apart from all that training needs and on the CPU."""
        settings = self.experiment
        objective = replace(self, experiment=replace(settings, device="cpu")).load()
        return TrainedOptimizer(
            rule=bare(objective.rule),
            options=settings.rule_options,
            posterior=objective.posterior,
            nu=settings.prior_nu,
            horizon=settings.horizon,
            kl_scale=settings.kl_scale,
            safeguard=settings.safeguard,
        )

    @property
    def validation(self) -> float:
        """The objective on the validation set, with the weights that validated best."""
        found: float = self.state()["best_validation"]
        return found

    def log(self, record: Record) -> None:
        """Append one line to the metrics."""
        metrics.append(self.metrics, record._asdict())

    def records(self) -> list[dict[str, Any]]:
        """The metrics, one dict a meta-step.

        :raises ValueError: if a line is damaged; names it.
        """
        return metrics.read(self.metrics, NEEDED)


@dataclass(frozen=True)
class Run:
    """A folder with one experiment, trained from one or several seeds."""

    folder: Path
    experiment: Experiment
    seeds: tuple[int, ...]

    @classmethod
    def create(
        cls, folder: Path, experiment: Experiment, seeds: Sequence[int], source: TrainedOptimizer | None = None
    ) -> Run:
        """Make the folder and write ``experiment.json``.

        :param source: what ``experiment.begin_with`` names.
        :raises ValueError: if the folder already holds a run, or what is left of one.
        """
        run = cls(folder, replace(experiment, seed=seeds[0]), tuple(seeds))
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder / "lock"):
            if (folder / "experiment.json").exists():
                raise ValueError(
                    f"{folder} already holds a run: continue it with --resume {folder}, or choose another --out"
                )
            if left := sorted(str(path.relative_to(folder)) for pattern in _WRITTEN for path in folder.glob(pattern)):
                raise ValueError(f"{folder} holds {', '.join(left)} of another run: choose another --out")
            for chain in run.chains:
                chain.folder.mkdir(exist_ok=True)
            if source is not None:
                source.save(run.begun)
            note_plugins(folder)
            settings = {**asdict(run.experiment), "seed": list(run.seeds)}
            write_atomically(folder / "experiment.json", json.dumps(settings, indent=2) + "\n")
        run.mark_latest()
        return run

    @classmethod
    def open(cls, folder: Path | str, to_train: bool = False) -> Run:
        """The run in ``folder``; on the CPU if this machine lacks the device that it was made on.

        :param to_train: refuse that instead.
        :raises ValueError: if there is no readable run.
        """
        folder = Path(folder)
        path = folder / "experiment.json"
        if not path.is_file():
            raise ValueError(f"{folder}: no run there (expected a folder with experiment.json{_runs_inside(folder)})")
        try:
            settings = settings_in(path.read_text())
            seeds = settings.get("seed")
            if not isinstance(seeds, list) or not seeds:
                raise ValueError(f"seed: expected a list of seeds, got {seeds!r}")
            seeds = tuple(checked("seed", seed) for seed in seeds)
            experiment = Experiment.create(**{**settings, "seed": seeds[0]})
        except UnknownPartError as error:
            raise error.within(path, missing_plugins(folder)) from None
        except ValueError as error:
            raise ValueError(f"{path}: not an experiment ({error})") from None
        try:
            check_device(experiment.device)
        except ValueError as error:
            if to_train:
                raise ValueError(f'{path}: {error}; to go on without it, set "device": "cpu" there') from None
            experiment = replace(experiment, device="cpu")
        return cls(folder, experiment, seeds)

    def at(self, prior_nu: float | None) -> Run:
        """The same at another nu (None: its own).

        :raises ValueError: if its head was not trained for that price of a step.
        """
        if prior_nu is None or prior_nu == (own := self.experiment.prior_nu):
            return self
        if not self.experiment.prior_nu_range:
            raise ValueError(f"{self.folder}: expected prior-nu {own:g} alone (no --prior-nu-range), got {prior_nu:g}")
        return replace(self, experiment=replace(self.experiment, prior_nu=prior_nu))

    @classmethod
    def latest(cls) -> Run:
        """The run created last from this working directory."""
        if not LATEST.is_file():
            raise MissingError("no run yet", "run")
        return cls.open(Path(LATEST.read_text().strip()))

    def mark_latest(self) -> None:
        """Let ``latest`` find this run."""
        try:
            RUNS.mkdir(exist_ok=True)
            write_atomically(LATEST, f"{self.folder.resolve()}\n")
        except (OSError, UnicodeError):
            pass  # the working directory cannot be written: the run then has to be named

    @property
    def chains(self) -> list[Chain]:
        """One training for each seed."""
        alone = len(self.seeds) == 1
        begun = self.begun if self.experiment.begin_with else None
        return [
            Chain(replace(self.experiment, seed=seed), self.folder if alone else self.folder / f"seed-{seed}", begun)
            for seed in self.seeds
        ]

    def best(self) -> Chain:
        """The training that validated best; all validate on the same problems."""
        return min(self.chains, key=lambda chain: chain.validation)

    def records(self) -> dict[str, list[dict[str, Any]]]:
        """Each chain's metrics, by seed."""
        return {f"seed {chain.experiment.seed}": chain.records() for chain in self.chains}

    @property
    def begun(self) -> Path:
        return self.folder / "begin.pt"

    @property
    def posterior(self) -> Path:
        return self.folder / "posterior.nc"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"


def new_folder(experiment: Experiment) -> Path:
    """Where a run goes when no ``--out`` names it: ``runs/<family>-<rule>-<halting>-<time>``."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return RUNS / f"{experiment.family}-{experiment.rule}-{experiment.halting}-{stamp}"


def _runs_inside(folder: Path) -> str:
    """What to say of a folder of runs, as a sweep's is: the first of them."""
    found = sorted(path.parent.name for path in folder.glob("*/experiment.json")) if folder.is_dir() else []
    return f"; runs in it: {len(found)}, such as {folder / found[0]}" if found else ""
