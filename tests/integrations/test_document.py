"""Each snippet of ``docs/integrations.md``, run with its library on digits and tiny models."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from probact.monitoring import head, monitor
from tests.helpers.callbacks import EXAMPLES

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text()
SNIPPETS = re.findall(r"\n(?:## (\w[\w -]*)\n[^#]*?|A loop of your own[^#]*?)```python\n(.*?)```", PAGE, re.DOTALL)
NEEDS = {"Lightning": "lightning", "Hugging Face": "transformers", "Keras": "keras", "scikit-learn": "sklearn",
         "Optuna": "optuna", "LightGBM": "lightgbm", "skorch": "skorch", "XGBoost": "xgboost"}  # fmt: skip


@pytest.fixture(autouse=True)
def _hasty_head_is_shipped(hasty: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The default head, whatever it is, is one that stops at once."""
    hasty.rename(hasty.parent / "curves.pt")
    monkeypatch.setattr(head, "SHIPPED", hasty.parent)
    monitor._read.cache_clear()
    yield
    monitor._read.cache_clear()


def digits() -> dict[str, Any]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    rows = (pixels / 16).astype("float32")
    return {"X": rows[:300], "y": labels[:300], "X_valid": rows[300:400], "y_valid": labels[300:400]}


def setting(library: str, folder: Path) -> dict[str, Any]:
    """What a snippet takes as given."""
    if not library:
        losses = iter(np.linspace(1, 0, 50))
        return {"model": nn.Linear(1, 1), "train": lambda _: None, "validate": lambda _: next(losses)}
    if library == "Lightning":
        data = digits()
        loader = DataLoader(TensorDataset(torch.as_tensor(data["X"]), torch.as_tensor(data["y"])), 100)
        shown = runpy.run_path(str(EXAMPLES / "lightning_callback.py"))
        return {"module": shown["Digits"](), "train_loader": loader, "valid_loader": loader}
    if library == "Hugging Face":
        from transformers import BertForSequenceClassification, TrainingArguments

        shown = runpy.run_path(str(EXAMPLES / "huggingface_callback.py"))
        rows = shown["sentences"](32, torch.Generator().manual_seed(0))
        config = shown["BertConfig"](
            vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        )
        told = TrainingArguments(str(folder), num_train_epochs=9, eval_strategy="epoch", save_strategy="no",
                                 use_cpu=True, report_to="none", disable_tqdm=True)  # fmt: skip
        return {"model": BertForSequenceClassification(config), "arguments": told, "train": rows, "valid": rows}
    if library == "Keras":
        import keras

        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return {"model": model, **digits()}
    if library == "Optuna":
        return {"objective": lambda trial: trial.suggest_float("x", -1, 1) ** 2}
    return {"Net": type("Net", (nn.Sequential,), {"__init__": net}), **digits()}


def net(self: Any) -> None:
    nn.Sequential.__init__(self, nn.Linear(64, 10), nn.Softmax(-1))


def test_each_library_has_a_snippet() -> None:
    assert [library for library, _ in SNIPPETS] == ["", *NEEDS]


@pytest.mark.parametrize(("library", "code"), SNIPPETS, ids=[library or "own loop" for library, _ in SNIPPETS])
def test_the_snippet_stops(
    library: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    if library:
        pytest.importorskip(NEEDS[library], reason="comes with an extra")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/integrations.md", "exec"), setting(library, tmp_path))
    assert "another look is not expected to be worth its price" in capfd.readouterr().out
