"""A Hugging Face training that stops where another evaluation is not worth its price, and ends with its best weights.

pip install 'probact[huggingface]'
python examples/huggingface_callback.py
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from probact.integrations.huggingface import HaltingCallback

Rows = list[dict[str, Any]]


def sentences(num: int, generator: torch.Generator) -> Rows:
    """Twelve words of 30; the label says whether more of them are below 15."""
    words = torch.randint(30, (num, 12), generator=generator)
    labels = (words < 15).sum(1) > 6
    return [{"input_ids": row, "labels": int(label)} for row, label in zip(words, labels, strict=True)]


def main(max_epochs: int = 100, **options: Any) -> HaltingCallback:
    draws = torch.Generator().manual_seed(0)
    config = BertConfig(vocab_size=30, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    halting = HaltingCallback(price=2e-3, **options)  # an evaluation has to bring .002 nats
    with tempfile.TemporaryDirectory() as folder:
        told = TrainingArguments(
            folder,
            num_train_epochs=max_epochs,
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            learning_rate=2e-3,
            per_device_train_batch_size=64,
            disable_tqdm=True,
            report_to="none",
            use_cpu=True,
        )
        train, valid = sentences(512, draws), sentences(256, draws)
        model = BertForSequenceClassification(config)
        Trainer(model, told, train_dataset=train, eval_dataset=valid, callbacks=[halting]).train()
    print(halting.watcher.summary())
    return halting


if __name__ == "__main__":
    main()
