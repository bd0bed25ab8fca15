"""A Keras fit that stops where another epoch is not worth its price, and ends with its best weights.

pip install 'probact[keras,fit]'
python examples/keras_callback.py
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from sklearn.datasets import load_digits

from probact.integrations.keras import HaltingCallback


def main(max_epochs: int = 300, **options: Any) -> HaltingCallback:
    keras.utils.set_random_seed(0)
    X, y = load_digits(return_X_y=True)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)])
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    halting = HaltingCallback(price=1e-3, **options)  # an epoch has to bring .001 nats
    model.fit(X / 16, y, 64, max_epochs, validation_split=0.2, verbose=0, callbacks=[halting])
    print(halting.watcher.summary())
    return halting


if __name__ == "__main__":
    main()
