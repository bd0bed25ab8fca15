"""``LearnedOptimizer`` under Hugging Face's own ``Trainer``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="comes with the extra 'huggingface'")
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from probact import LearnedOptimizer
from probact.integrations.huggingface import LearnedTrainer
from tests.helpers.loops import descend

pytestmark = pytest.mark.filterwarnings("ignore")
X = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        with torch.no_grad():
            for param in self.parameters():
                param.fill_(0.5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = x.to(self.layer.weight.dtype)
        return {"loss": (self.layer(x) - x.sum(1, keepdim=True)).square().mean()}


class InOrder(LearnedTrainer):
    def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def optimizers(model: nn.Module, stop: Any = None) -> tuple[LearnedOptimizer, Any]:
    optimizer = LearnedOptimizer.from_pretrained(model.parameters(), "subspace-mlp", stop=stop)
    return optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, 12)


def trainer(folder: Path, stop: Any = None, kind: type[Trainer] = InOrder, **settings: Any) -> Trainer:
    told = TrainingArguments(
        str(folder / "out"), disable_tqdm=True, report_to="none", use_cpu=True, logging_strategy="no", max_grad_norm=0,
        **{"per_device_train_batch_size": 4, "num_train_epochs": 3, "save_strategy": "no", **settings},
    )  # fmt: skip
    model = Small()
    return kind(model, told, train_dataset=[{"x": row} for row in X], optimizers=optimizers(model, stop))


def by_hand() -> Small:
    """The same in a loop of one's own."""
    model = Small()
    optimizer, schedule = optimizers(model)
    for _ in range(3):
        for rows in X.split(4):
            descend(optimizer, lambda rows=rows: model(rows)["loss"], 1)  # type: ignore[misc]
            schedule.step()
    return model


def test_it_trains_as_a_loop_of_ones_own(tmp_path: Path) -> None:
    training = trainer(tmp_path)
    training.train()
    assert torch.equal(training.model.layer.weight, by_hand().layer.weight)
    assert training.optimizer.optimizer.num_steps == 12
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.5)


def test_accumulated_batches(tmp_path: Path) -> None:
    training = trainer(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    training.train()
    assert training.optimizer.optimizer.num_steps == 12
    torch.testing.assert_close(training.model.layer.weight, by_hand().layer.weight, rtol=1e-3, atol=1e-3)


def test_it_ends_where_the_optimizer_stops(tmp_path: Path) -> None:
    training = trainer(tmp_path, "budget=5")
    training.train()
    assert training.optimizer.optimizer.num_steps == 5
    assert training.state.global_step == 6  # the last one looked and made no step


def test_the_schedule_of_the_training_arguments(tmp_path: Path) -> None:
    training = trainer(tmp_path, lr_scheduler_type="cosine", bf16=True)
    training.lr_scheduler = None
    training.train()
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0)
    assert training.model(X)["loss"] < 0.5 * Small()(X)["loss"]


def test_a_resumed_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    whole.train()
    trainer(tmp_path, num_train_epochs=2, save_strategy="epoch").train()
    resumed = trainer(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert torch.equal(resumed.model.layer.weight, whole.model.layer.weight)
    assert resumed.optimizer.optimizer.num_steps == 12


def test_losses_of_a_step_that_was_left_out_are_forgotten(tmp_path: Path) -> None:
    """As by a ``GradScaler``, after which the library sets the gradients to None."""
    training = trainer(tmp_path)
    training.optimizer.add_loss(1e6)
    training.train()
    assert torch.equal(training.model.layer.weight, by_hand().layer.weight)


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step: expected the loss, .* or add_loss\(loss\) before"):
        trainer(tmp_path, kind=Trainer).train()
    model = Small()
    with pytest.raises(ValueError, match=r"optimizers: expected a LearnedOptimizer .*, got SGD"):
        LearnedTrainer(model, optimizers=(torch.optim.SGD(model.parameters()), None))
    with pytest.raises(ValueError, match=r"optimizers: expected a LearnedOptimizer .*, got none"):
        LearnedTrainer(model)


def test_the_snippet_of_the_page(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "drop-in.md").read_text()
    made = trainer(tmp_path)
    given = {"model": Small(), "arguments": made.args, "train": made.train_dataset}
    exec(re.findall(r"## Hugging Face\n[^#]*?```python\n(.*?)```", page, re.DOTALL)[0], given)
    assert given["optimizer"].num_steps == 12
