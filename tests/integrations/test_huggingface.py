"""The callback in Hugging Face's own ``Trainer``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="comes with the extra 'huggingface'")
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from probact.integrations.huggingface import HaltingCallback
from tests.helpers.callbacks import LOSSES, example

pytestmark = pytest.mark.filterwarnings("ignore")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.layer(x) - 1).square().mean()}


class Given(Trainer):
    """Evaluates to a given series of losses, one an epoch, and remembers the weights there."""

    losses: Any = LOSSES

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        epoch = round(self.state.epoch) - 1
        self.seen = [*getattr(self, "seen", []), self.model.layer.weight.detach().clone()]
        metrics = {"eval_loss": self.losses[epoch], "eval_accuracy": -self.losses[epoch]}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def trainer(callback: TrainerCallback, folder: Path, model: nn.Module | None = None, **settings: Any) -> Given:
    told = TrainingArguments(
        str(folder / "out"), disable_tqdm=True, report_to="none", use_cpu=True, logging_strategy="no",
        per_device_train_batch_size=2, **{"num_train_epochs": 8, "eval_strategy": "epoch", "save_strategy": "no",
        **settings},
    )  # fmt: skip
    rows = [{"x": torch.randn(2)} for _ in range(4)]
    return Given(model or Small(), told, train_dataset=rows, eval_dataset=rows, callbacks=[callback])


def test_it_stops_and_puts_the_best_back(patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = HaltingCallback(1e-3, name=patient, maximum_looks=5)
    training = trainer(callback, tmp_path)
    training.train()
    assert training.state.epoch == 5
    assert "eval_loss: stopped at look 5: maximum_looks was reached; best 1 at look 3" in capsys.readouterr().out
    assert torch.equal(training.model.layer.weight, training.seen[2])
    training.evaluate()  # afterwards: no look
    assert callback.monitor.num_looks == 5


def test_it_stops_by_the_head(hasty: Path, tmp_path: Path) -> None:
    training = trainer(HaltingCallback(1e-3, name=hasty), tmp_path)
    training.train()
    assert training.state.epoch == 2


def test_the_best_are_put_back_when_training_ends_by_itself(patient: Path, tmp_path: Path) -> None:
    training = trainer(HaltingCallback(1e-3, name=patient), tmp_path)
    training.train()
    assert training.state.epoch == 8
    assert torch.equal(training.model.layer.weight, training.seen[2])
    training = trainer(HaltingCallback(1e-3, name=patient, restore_best=False), tmp_path)
    training.train()
    assert torch.equal(training.model.layer.weight, training.seen[7])


@pytest.mark.parametrize(
    ("told", "settings"),
    [({}, {"metric_for_best_model": "accuracy"}), ({"metric": "accuracy", "greater_is_better": True}, {})],
)
def test_the_metric_and_its_direction(told: Any, settings: Any, patient: Path, tmp_path: Path) -> None:
    callback = HaltingCallback(1e-3, name=patient, **told)
    trainer(callback, tmp_path, **settings).train()
    assert callback.monitor.mode == "max"
    assert (callback.monitor.best_look, callback.monitor.best_loss) == (3, -1.0)


def test_a_resumed_training_decides_as_one_that_was_not_cut_off(patient: Path, tmp_path: Path) -> None:
    whole, first, second = (HaltingCallback(1e-3, name=patient, maximum_looks=7) for _ in range(3))
    trainer(whole, tmp_path / "whole").train()
    cut = trainer(first, tmp_path, num_train_epochs=4, save_strategy="epoch")
    cut.train()
    resumed = trainer(second, tmp_path, save_strategy="epoch")
    resumed.train(resume_from_checkpoint=True)
    assert second.monitor.num_looks == 7
    assert second.monitor.summary() == whole.monitor.summary()
    assert second.monitor.hazard == whole.monitor.hazard
    assert torch.equal(resumed.model.layer.weight, cut.seen[2])
    resumed.train()
    assert second.monitor.num_looks == 7  # anew


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_checkpoint_of_before_is_said(patient: Path, tmp_path: Path) -> None:
    trainer(TrainerCallback(), tmp_path, num_train_epochs=2, save_strategy="epoch").train()
    callback = HaltingCallback(1e-3, name=patient)
    with pytest.warns(UserWarning, match=r"probact_halting.pt: not there, so the looks begin at step 4"):
        trainer(callback, tmp_path).train(resume_from_checkpoint=True)
    assert callback.monitor.num_looks == 6


def test_nothing_to_put_back(patient: Path, tmp_path: Path) -> None:
    training = trainer(callback := HaltingCallback(1e-3, name=patient, restore_best=False), tmp_path)
    with pytest.raises(ValueError, match="put_back_best: expected a look with a finite eval_loss before, got none"):
        callback.put_back_best(training.model)
    training.train()
    with pytest.raises(ValueError, match="put_back_best: expected restore_best=True before, got none"):
        callback.put_back_best(training.model)


def test_what_is_put_back_by_hand_after_an_error(patient: Path, tmp_path: Path) -> None:
    callback = HaltingCallback(1e-3, name=patient)
    training = trainer(callback, tmp_path)
    training.losses = LOSSES[:5]
    with pytest.raises(IndexError):
        training.train()
    assert not torch.equal(training.model.layer.weight, training.seen[2])
    callback.put_back_best(training.model)
    assert torch.equal(training.model.layer.weight, training.seen[2])


def test_what_is_wrong_is_said_in_one_line(patient: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no metric 'eval_f1' to look at: choose from eval_accuracy, eval_loss"):
        trainer(HaltingCallback(1e-3, "f1", name=patient), tmp_path).train()
    with pytest.warns(UserWarning, match="no evaluation to look at: say eval_strategy"):
        trainer(HaltingCallback(1e-3, name=patient), tmp_path, eval_strategy="no").train()
    with pytest.raises(ValueError, match="price: expected a number > 0, got -1"):
        HaltingCallback(-1)


def test_the_example(capsys: pytest.CaptureFixture[str], patient: Path) -> None:
    callback = example("huggingface_callback", max_epochs=12, name=patient)
    assert callback.monitor.num_looks == 12
    assert callback.monitor.best_loss < 0.6
    assert "best" in capsys.readouterr().out
