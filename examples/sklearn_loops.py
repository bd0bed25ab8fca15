"""scikit-learn's ``partial_fit`` and gradient boosting, stopped where more is not worth its price.

pip install 'probact[sklearn]'
python examples/sklearn_loops.py
"""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from probact import HaltingMonitor
from probact.integrations.sklearn import HaltingRounds, fit_until_stopped

pixels, labels = load_digits(return_X_y=True)
X, X_valid, y, y_valid = train_test_split(pixels / 16, labels, test_size=0.2, random_state=0)


def validation(model: Any) -> float:
    return float(log_loss(y_valid, model.predict_proba(X_valid)))


def main(**options: Any) -> list[HaltingMonitor]:
    linear = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01, random_state=0)
    best, monitor = fit_until_stopped(
        linear, X, y, validation=validation, price=1e-3, fit_options={"classes": range(10)}, verbose=False, **options
    )
    print(f"SGDClassifier: loss {validation(best):.3f}; {monitor.summary()}")

    boosting = GradientBoostingClassifier(n_estimators=200, max_depth=2, random_state=0)
    rounds = HaltingRounds(validation, price=1e-3, verbose=False, **options)
    boosting.fit(X, y, monitor=rounds)
    rounds.put_back_best(boosting)
    print(f"GradientBoostingClassifier: loss {validation(boosting):.3f}; {rounds.monitor.summary()}")
    return [monitor, rounds.monitor]


if __name__ == "__main__":
    main()
