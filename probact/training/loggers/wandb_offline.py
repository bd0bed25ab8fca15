"""Runs for Weights & Biases that stay on this machine until they are sent."""

from __future__ import annotations

import hashlib
import shutil

from probact.training.loggers.base import LOGGERS, Logger, Numbers, Place


@LOGGERS.register("wandb-offline")
class WandbOffline(Logger):
    """log/wandb, without network; `wandb sync` of its offline-run-* folder sends it."""

    extra = "wandb"

    def __init__(self, place: Place) -> None:
        import wandb

        super().__init__(place)
        self._wandb = wandb
        shutil.rmtree(place.folder / "wandb", ignore_errors=True)
        quiet = wandb.Settings(console="off", silent=True, x_disable_stats=True, x_disable_meta=True)
        self._run = wandb.init(
            project="probact",
            name=place.name,
            id=hashlib.sha256(str(place.folder.resolve()).encode()).hexdigest()[:16],
            dir=str(place.folder),
            mode="offline",
            config=dict(place.settings),
            settings=quiet,
            reinit="create_new",  # chains of one process are runs of their own
        )

    def write(self, step: int, numbers: Numbers) -> None:
        self._run.log(dict(numbers), step=step)

    def finish(self, summary: Numbers) -> None:
        self._run.summary.update(dict(summary))

    def close(self) -> None:
        self._run.finish()
        self._wandb.teardown()  # else its service keeps the id, and the run could not be opened anew
