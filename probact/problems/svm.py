"""Tuning a support vector machine: two hyper-parameters."""

from __future__ import annotations

from collections.abc import Sequence

from probact.problems.base import FAMILIES
from probact.problems.tabulated import Axis, TabulatedFamily


@FAMILIES.register("svm")
class Svm(TabulatedFamily):
    """Tuning C and gamma of a support vector machine on breast-cancer or digits (2-d).

    f = error rate of scikit-learn's ``SVC`` (RBF kernel) in 3-fold cross-validation, fitted once on a grid of C in
    [1e-2, 1e4] and gamma in [1e-5, 10], linear between.  Each problem: a data set, 80 % of each axis, mirrored or not.
    """

    dim = 2
    axes = (
        Axis("C", tuple(10.0 ** (power / 2) for power in range(-4, 9))),
        Axis("gamma", tuple(10.0 ** (power / 2) for power in range(-10, 3))),
    )

    @staticmethod
    def fit(data: str, values: Sequence[float], last: Sequence[float]) -> list[float]:
        """Error rates."""
        from sklearn.datasets import load_breast_cancer, load_digits
        from sklearn.model_selection import cross_val_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MaxAbsScaler, StandardScaler
        from sklearn.svm import SVC

        X, y = (load_breast_cancer if data == "breast-cancer" else load_digits)(return_X_y=True)
        scaler = StandardScaler if data == "breast-cancer" else MaxAbsScaler
        (C,) = values
        models = (make_pipeline(scaler(), SVC(C=C, gamma=gamma)) for gamma in last)
        return [float(1 - cross_val_score(model, X, y, cv=3).mean()) for model in models]
