"""LightGBM, stopped where another round is not worth its price; prediction is by the best round.

pip install 'probact[lightgbm,fit]'
python examples/lightgbm_callback.py
"""

from __future__ import annotations

from typing import Any

import lightgbm
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from probact.integrations.lightgbm import HaltingCallback


def main(**options: Any) -> HaltingCallback:
    pixels, labels = load_digits(return_X_y=True)
    X, X_valid, y, y_valid = train_test_split(pixels, labels, test_size=0.2, random_state=0)
    halting = HaltingCallback(price=1e-3, verbose=False, **options)  # a round has to bring .001 nats
    model = lightgbm.LGBMClassifier(n_estimators=500, num_leaves=7, n_jobs=1, verbosity=-1)
    model.fit(X, y, eval_set=[(X_valid, y_valid)], callbacks=[halting])
    print(f"round {model.best_iteration_}, accuracy {model.score(X_valid, y_valid):.1%}; {halting.watcher.summary()}")
    return halting


if __name__ == "__main__":
    main()
