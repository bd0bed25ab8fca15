"""Tuning gradient boosting: four hyper-parameters."""

from __future__ import annotations

from collections.abc import Sequence

from probact.problems.base import FAMILIES
from probact.problems.tabulated import Axis, TabulatedFamily


@FAMILIES.register("gradient-boosting")
class GradientBoosting(TabulatedFamily):
    """Tuning rate, depth, subsample and trees of gradient boosting on breast-cancer or digits (4-d).

    f = log of the log loss of scikit-learn's ``GradientBoostingClassifier`` on held-out rows (300 to fit on, 269 or 300
    to judge by), fitted once on a grid: learning rate in [.01, 1], depth 1..5, subsample in [.25, 1], 4..64 trees;
    linear between.  Each problem: a data set, 80 % of each axis, mirrored or not.
    """

    dim = 4
    of_log = True
    axes = (
        Axis("learning_rate", tuple(10.0 ** (power / 3) for power in range(-6, 1))),
        Axis("max_depth", (1, 2, 3, 4, 5)),
        Axis("subsample", (0.25, 0.5, 0.75, 1.0)),
        Axis("n_estimators", (4, 8, 16, 32, 64)),
    )

    @staticmethod
    def fit(data: str, values: Sequence[float], last: Sequence[float]) -> list[float]:
        """Log losses; one model is asked after each number of trees."""
        from sklearn.datasets import load_breast_cancer, load_digits
        from sklearn.ensemble import GradientBoostingClassifier
        from sklearn.metrics import log_loss
        from sklearn.model_selection import train_test_split

        X, y = (load_breast_cancer if data == "breast-cancer" else load_digits)(return_X_y=True)
        test = min(300, len(X) - 300)
        X, X_test, y, y_test = train_test_split(X, y, train_size=300, test_size=test, random_state=0, stratify=y)
        rate, depth, subsample = values
        model = GradientBoostingClassifier(
            learning_rate=rate, max_depth=int(depth), subsample=subsample, n_estimators=int(max(last)), random_state=0
        ).fit(X, y)
        staged = list(model.staged_predict_proba(X_test))
        return [float(log_loss(y_test, staged[int(trees) - 1])) for trees in last]
