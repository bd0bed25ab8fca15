"""Scalars for TensorBoard."""

from __future__ import annotations

from probact.training.loggers.base import LOGGERS, Logger, Numbers, Place


@LOGGERS.register("tensorboard")
class TensorBoard(Logger):
    """log/tensorboard, with settings and summary as hyper-parameters: tensorboard --logdir RUN."""

    extra = "tensorboard"

    def __init__(self, place: Place) -> None:
        from torch.utils.tensorboard import SummaryWriter

        super().__init__(place)
        folder = place.folder / "tensorboard"
        for old in folder.glob("events.out.tfevents.*") if folder.is_dir() else ():
            old.unlink()
        # A server that shows what was there before is told that all of it is written anew.
        self._writer = SummaryWriter(str(folder), purge_step=1, flush_secs=10)
        self._last = 0
        told = "\n".join(f"    {name} = {value}" for name, value in place.settings.items())
        self._writer.add_text("settings", told, 0)

    def write(self, step: int, numbers: Numbers) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._last = step

    def finish(self, summary: Numbers) -> None:
        settings = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in self.place.settings.items()
        }
        results = {f"summary/{name}": value for name, value in summary.items()}
        self._writer.add_hparams(settings, results, run_name=".", global_step=self._last)

    def close(self) -> None:
        self._writer.close()
