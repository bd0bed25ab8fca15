"""Tune a support vector machine: ask for hyper-parameters, tell the error, stop where a fit is not worth its price.

pip install 'probact[fit]'
python examples/black_box.py
"""

from __future__ import annotations

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from probact import BlackBoxOptimizer

X, y = load_breast_cancer(return_X_y=True)


def error(C: float, gamma: float) -> float:
    model = make_pipeline(StandardScaler(), SVC(C=C, gamma=gamma))
    return float(1 - cross_val_score(model, X, y, cv=3).mean())


def main(source: str = "gp-ei", price: float = 2e-3) -> BlackBoxOptimizer:
    bounds = {"C": (1e-2, 1e4), "gamma": (1e-5, 10.0)}
    optimizer = BlackBoxOptimizer(source, bounds, log=True, price=price)  # a fit has to bring .2 % of error
    while not optimizer.should_stop():
        point = optimizer.ask()
        optimizer.tell(error(**point))
    (point, value), reason = optimizer.best, optimizer.stop_reason
    print(f"C = {point['C']:.3g}, gamma = {point['gamma']:.2g}: error {value:.2%}, {reason}")
    return optimizer


if __name__ == "__main__":
    main()
