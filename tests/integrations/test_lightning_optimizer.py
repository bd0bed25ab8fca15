"""``LearnedOptimizer`` under Lightning's own ``Trainer``."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning", reason="comes with the extra 'lightning'")
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BackboneFinetuning, ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from probact import LearnedOptimizer
from probact.integrations.lightning import LearnedOptimizerCallback
from tests.helpers.loops import descend

pytestmark = pytest.mark.filterwarnings("ignore")
X = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
SIZE = 8
SCALED = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**8))


def layer() -> nn.Linear:
    made = nn.Linear(3, 1)
    with torch.no_grad():
        for param in made.parameters():
            param.fill_(0.5)
    return made


def loss_of(model: nn.Module, rows: Tensor) -> Tensor:
    rows = rows.to(next(model.parameters()).dtype)
    return (model(rows) - rows.sum(1, keepdim=True).sin()).square().mean()


def optimizer_of(model: nn.Module, stop: Any = None) -> tuple[LearnedOptimizer, Any]:
    optimizer = LearnedOptimizer.from_pretrained(model.parameters(), "subspace-mlp", stop=stop)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.7)


class Module(LightningModule):
    def __init__(self, stop: Any = None, skipped: int | None = None) -> None:
        super().__init__()
        self.layer, self.stop, self.skipped = layer(), stop, skipped
        self.losses: list[float] = []
        self.told: list[float] = []

    def training_step(self, batch: list[Tensor], place: int) -> Tensor | None:
        if place == self.skipped:
            return None
        loss = loss_of(self.layer, batch[0])
        self.losses.append(loss.item())
        return loss

    def on_before_optimizer_step(self, optimizer: LearnedOptimizer) -> None:
        self.told.append(float(getattr(optimizer, "_added", None) or torch.nan))

    def configure_optimizers(self) -> Any:
        optimizer, schedule = optimizer_of(self.layer, self.stop)
        return [optimizer], [schedule]


def fitted(module: Module, folder: Path, *callbacks: Any, **settings: Any) -> Trainer:
    path = settings.pop("ckpt_path", None)
    trainer = Trainer(
        callbacks=list(callbacks), default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, **{"max_epochs": 4, "enable_checkpointing": False, **settings},
    )  # fmt: skip
    data = DataLoader(TensorDataset(X), batch_size=SIZE)
    trainer.fit(module, data, ckpt_path=path, weights_only=True if path else None)
    return trainer


def by_hand(size: int = SIZE, epochs: int = 4) -> nn.Linear:
    """The same in a loop of one's own."""
    model = layer()
    optimizer, schedule = optimizer_of(model)
    for _ in range(epochs):
        for rows in X.split(size):
            descend(optimizer, lambda rows=rows: loss_of(model, rows), 1)  # type: ignore[misc]
        schedule.step()
    return model


@pytest.mark.parametrize("callbacks", [[], [LearnedOptimizerCallback()]], ids=["alone", "callback"])
def test_automatic_optimization(callbacks: list[Any], tmp_path: Path) -> None:
    module = Module()
    trainer = fitted(module, tmp_path, *callbacks)
    assert torch.equal(module.layer.weight, by_hand().weight)
    assert module.optimizers().num_steps == 16
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.49)


def test_accumulated_batches(tmp_path: Path) -> None:
    """With the callback it sees the loss of the whole batch."""
    module = Module()
    fitted(module, tmp_path, LearnedOptimizerCallback(), accumulate_grad_batches=2)
    torch.testing.assert_close(module.layer.weight, by_hand(2 * SIZE).weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "scaled"])
def test_precisions(precision: str, tmp_path: Path) -> None:
    """With a scaler, too, which hands over no loss."""
    module = Module()
    settings = {"plugins": [SCALED]} if precision == "scaled" else {"precision": precision}
    trainer = fitted(module, tmp_path, LearnedOptimizerCallback(), gradient_clip_val=1.0, **settings)
    assert trainer.optimizers[0].num_steps == 16
    assert module.told == pytest.approx(module.losses)
    assert loss_of(module.layer, X) < 0.5 * loss_of(layer(), X)


def test_a_scaler_without_the_callback_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step: expected the loss, .* or add_loss\(loss\) before"):
        fitted(Module(), tmp_path, plugins=[SCALED])


def test_it_ends_where_the_optimizer_stops(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", module="lightning")
        trainer = fitted(Module("budget=6"), tmp_path, LearnedOptimizerCallback())
    assert trainer.optimizers[0].num_steps == 6
    assert trainer.current_epoch < 4


def test_a_batch_that_is_left_out(tmp_path: Path) -> None:
    assert fitted(Module(skipped=0), tmp_path).optimizers[0].num_steps == 12


def test_a_resumed_fit_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, cut, resumed = Module(), Module(), Module()
    fitted(whole, tmp_path)
    fitted(cut, tmp_path, ModelCheckpoint(tmp_path, "cut"), max_epochs=2, enable_checkpointing=True)
    fitted(resumed, tmp_path, ckpt_path=str(tmp_path / "cut.ckpt"))
    assert torch.equal(resumed.layer.weight, whole.layer.weight)
    assert resumed.optimizers().num_steps == 16


class Replica(Module):
    def on_train_end(self) -> None:
        torch.save(self.layer.weight, Path(self.trainer.default_root_dir, f"rank{self.global_rank}"))


def test_two_ranks(tmp_path: Path) -> None:
    fitted(Replica(), tmp_path, LearnedOptimizerCallback(), strategy="ddp_fork", devices=2, max_epochs=2)
    found = [torch.load(tmp_path / f"rank{rank}") for rank in (0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], layer().weight)


def test_the_snippet_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "drop-in.md").read_text()
    given = {"module": Module("budget=6"), "train_loader": DataLoader(TensorDataset(X), batch_size=SIZE)}
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"## Lightning\n[^#]*?```python\n(.*?)```", page, re.DOTALL)[0], given)
    assert given["module"].optimizers().num_steps == 6


class Backbone(Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(3, 3)
        with torch.no_grad():
            self.backbone.weight.copy_(torch.eye(3))
            self.backbone.bias.fill_(0.1)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return loss_of(nn.Sequential(self.backbone, self.layer), batch[0])


def test_a_layer_that_lightning_unfreezes_late(tmp_path: Path) -> None:
    """As a group of its own, which begins then."""
    module = Backbone()
    start = module.backbone.weight.detach().clone()
    trainer = fitted(module, tmp_path, BackboneFinetuning(1, backbone_initial_ratio_lr=0.5, train_bn=True))
    assert not torch.equal(module.backbone.weight, start)
    optimizer = trainer.optimizers[0]
    assert [state["cohort"] for state in optimizer.state.values()] == [0, 0, 1, 1]
    assert len(optimizer.param_groups) == 2
