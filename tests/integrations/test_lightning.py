"""The callback in Lightning's own ``Trainer``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning", reason="comes with the extra 'lightning'")
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from probact.integrations.lightning import HaltingCallback
from tests.helpers.callbacks import LOSSES, example

pytestmark = pytest.mark.filterwarnings("ignore")


class Given(LightningModule):
    """Trains for real, and logs a validation loss of a given series; fails where that has an exception."""

    def __init__(self, losses: Any = LOSSES) -> None:
        super().__init__()
        self.layer, self.losses, self.seen = nn.Linear(2, 1), losses, []

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return (self.layer(batch[0]) - 1).square().mean()

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        if self.trainer.sanity_checking:
            self.log("val_loss", 0.01)
            return
        value = self.losses[self.current_epoch]
        if isinstance(value, BaseException):
            raise value
        self.seen.append(self.layer.weight.detach().clone())
        self.log("val_loss", value)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def fitted(module: Given, callback: HaltingCallback, folder: Path, **settings: Any) -> Trainer:
    train, valid = (DataLoader(TensorDataset(torch.randn(4, 2)), batch_size=size) for size in (2, 4))
    path = settings.pop("ckpt_path", None)
    told = {"max_epochs": len(LOSSES), "enable_checkpointing": False, "num_sanity_val_steps": 1, **settings}
    extra = told.pop("callbacks", [])
    trainer = Trainer(
        callbacks=[callback, *extra],
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **told,
    )
    trainer.fit(module, train, valid, ckpt_path=path, weights_only=True if path else None)
    return trainer


def test_it_stops_and_puts_the_best_back(patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, callback = Given(), HaltingCallback(1e-3, name=patient, maximum_looks=5)
    trainer = fitted(module, callback, tmp_path)
    assert trainer.current_epoch == 5
    assert callback.stop_reason == "maximum_looks was reached"
    assert "val_loss: stopped at look 5: maximum_looks was reached; best 1 at look 3" in capsys.readouterr().out
    assert callback.monitor.num_looks == 5  # the sanity check is no look
    assert torch.equal(module.layer.weight, module.seen[2])


def test_it_stops_by_the_head(hasty: Path, tmp_path: Path) -> None:
    trainer = fitted(Given(), HaltingCallback(1e-3, name=hasty), tmp_path)
    assert trainer.current_epoch == 2


def test_the_best_are_put_back_when_training_ends_by_itself(patient: Path, tmp_path: Path) -> None:
    module, callback = Given(), HaltingCallback(1e-3, name=patient)
    fitted(module, callback, tmp_path)
    assert callback.stop_reason is None
    assert torch.equal(module.layer.weight, module.seen[2])
    kept = Given()
    fitted(kept, HaltingCallback(1e-3, name=patient, restore_best=False), tmp_path)
    assert torch.equal(kept.layer.weight, kept.seen[-1])


@pytest.mark.parametrize("error", [RuntimeError("a fault"), KeyboardInterrupt()])
def test_the_best_are_put_back_after_an_error(error: BaseException, patient: Path, tmp_path: Path) -> None:
    module = Given([2.0, 1.0, 1.5, error])
    with pytest.raises((RuntimeError, SystemExit)):
        fitted(module, HaltingCallback(1e-3, name=patient), tmp_path)
    assert torch.equal(module.layer.weight, module.seen[1])


@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_a_resumed_fit_decides_as_one_that_was_not_cut_off(interval: float, patient: Path, tmp_path: Path) -> None:
    whole, first, second = (HaltingCallback(1e-3, name=patient, maximum_looks=7) for _ in range(3))
    fitted(Given(), whole, tmp_path, val_check_interval=interval)
    cut, resumed = Given(), Given()
    saves = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    settings = {"val_check_interval": interval, "enable_checkpointing": True}
    fitted(cut, first, tmp_path, max_epochs=round(4 * interval), callbacks=[saves], **settings)
    fitted(resumed, second, tmp_path, ckpt_path=tmp_path / "last.ckpt", **settings)
    assert (first.monitor.num_looks, second.monitor.num_looks) == (4, 7)
    assert second.monitor.summary() == whole.monitor.summary()
    assert second.monitor.hazard == whole.monitor.hazard
    best = second.monitor.best_look - 1
    assert torch.equal(resumed.layer.weight, [*cut.seen, *resumed.seen][best])


def test_a_value_that_is_not_finite(patient: Path, tmp_path: Path) -> None:
    losses = [2.0, 1.0, math.nan, 0.5, 0.4, 0.4, 0.4, 0.4]
    callback = HaltingCallback(1e-3, name=patient, check_finite=True)
    assert fitted(Given(losses), callback, tmp_path).current_epoch == 3
    assert callback.stop_reason == "val_loss is nan"
    lenient = HaltingCallback(1e-3, name=patient)
    assert fitted(Given(losses), lenient, tmp_path).current_epoch == 8
    assert lenient.monitor.best_look == 5


def test_what_is_wrong_is_said_in_one_line(patient: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no metric 'val_los' to look at: choose from val_loss"):
        fitted(Given(), HaltingCallback(1e-3, "val_los", name=patient), tmp_path)
    with pytest.raises(ValueError, match="mode: expected 'min' or 'max', got 'low'"):
        HaltingCallback(1e-3, mode="low", name=patient)


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_wrong_mode_is_doubted(patient: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="val_loss: the first of 4 looks is the best with mode='max'; .* mode='min'"):
        fitted(Given(), HaltingCallback(1e-3, mode="max", name=patient, maximum_looks=4), tmp_path)


class Parted(Given):
    """One of two ranks loses its loss in the third epoch; each says where it was at the end."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        lost = self.current_epoch == 2 and self.global_rank == 1
        self.log("val_loss", math.nan if lost else LOSSES[self.current_epoch])

    def on_fit_end(self) -> None:
        monitor = self.trainer.callbacks[0].monitor
        (self.folder / f"rank{self.global_rank}").write_text(f"{self.current_epoch} {monitor.summary()}")


def test_both_ranks_stop_together(patient: Path, tmp_path: Path) -> None:
    callback = HaltingCallback(1e-3, name=patient, check_finite=True)
    fitted(Parted(tmp_path), callback, tmp_path, strategy="ddp_fork", devices=2)
    found = [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)]
    assert found[0] == found[1]
    assert found[0].startswith("3 goes on after look 3; best 2 at look 2")


def test_the_example(capsys: pytest.CaptureFixture[str], patient: Path) -> None:
    callback = example("lightning_callback", max_epochs=12, name=patient)
    assert callback.monitor.num_looks == 12
    assert "best" in capsys.readouterr().out
