"""XGBoost, stopped where another round is not worth its price; the model ends with its best round.

pip install 'probact[xgboost,fit]'
python examples/xgboost_callback.py
"""

from __future__ import annotations

from typing import Any

import xgboost
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from probact.integrations.xgboost import HaltingCallback


def main(**options: Any) -> HaltingCallback:
    pixels, labels = load_digits(return_X_y=True)
    X, X_valid, y, y_valid = train_test_split(pixels, labels, test_size=0.2, random_state=0)
    halting = HaltingCallback(price=1e-3, verbose=False, **options)  # a round has to bring .001 nats
    model = xgboost.XGBClassifier(n_estimators=500, max_depth=2, n_jobs=1, callbacks=[halting])
    model.fit(X, y, eval_set=[(X_valid, y_valid)], verbose=False)
    print(f"accuracy {model.score(X_valid, y_valid):.1%}; {halting.watcher.summary()}")
    return halting


if __name__ == "__main__":
    main()
