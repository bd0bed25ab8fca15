"""An Optuna study that stops where another trial is not worth its price.

pip install 'probact[optuna,fit]'
python examples/optuna_study.py
"""

from __future__ import annotations

from typing import Any

import optuna
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probact.integrations.optuna import HaltingCallback

X, y = load_breast_cancer(return_X_y=True)


def objective(trial: optuna.Trial) -> float:
    C = trial.suggest_float("C", 1e-4, 1e3, log=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    return float(-cross_val_score(model, X, y, scoring="neg_log_loss", cv=3).mean())


def main(**options: Any) -> HaltingCallback:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    halting = HaltingCallback(price=1e-4, verbose=False, **options)  # a trial has to bring .0001 nats
    study.optimize(objective, n_trials=200, callbacks=[halting])
    print(f"C = {study.best_params['C']:.3g}: {halting.watcher.summary()}")
    return halting


if __name__ == "__main__":
    main()
