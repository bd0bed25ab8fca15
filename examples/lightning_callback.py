"""A Lightning fit that stops where another epoch is not worth its price, and ends with its best weights.

pip install 'probact[lightning,fit]'
python examples/lightning_callback.py
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from probact.integrations.lightning import HaltingCallback


class Digits(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def loss(self, batch: list[Tensor]) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        self.log("val_loss", self.loss(batch), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 3e-3)


def main(max_epochs: int = 300, **options: Any) -> HaltingCallback:
    seed_everything(0, verbose=False)
    pixels, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.as_tensor(pixels, dtype=torch.float32) / 16, torch.as_tensor(labels))
    train, valid = random_split(data, [0.8, 0.2])
    halting = HaltingCallback(price=1e-3, **options)  # an epoch has to bring .001 nats
    trainer = Trainer(max_epochs=max_epochs, callbacks=[halting], logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(Digits(), DataLoader(train, 64, shuffle=True), DataLoader(valid, len(valid)))
    print(halting.watcher.summary())
    return halting


if __name__ == "__main__":
    main()
