"""A skorch net that stops where another epoch is not worth its price, and ends with its best weights.

pip install 'probact[skorch,fit]'
python examples/skorch_callback.py
"""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn

from probact.integrations.skorch import HaltingCallback


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def main(max_epochs: int = 300, **options: Any) -> HaltingCallback:
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    halting = HaltingCallback(price=1e-3, **options)  # an epoch has to bring .001 nats
    net = NeuralNetClassifier(Net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=3e-3, batch_size=64,
                              max_epochs=max_epochs, callbacks=[("halting", halting)], verbose=0)  # fmt: skip
    net.fit(pixels.astype("float32") / 16, labels)
    print(halting.watcher_.summary())
    return halting


if __name__ == "__main__":
    main()
