"""Your own module, loss and data as a family: learn to train it, and when to stop.

    python examples/own_optimizee.py

The problem: small networks that regress the disease progression of scikit-learn's diabetes patients.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_diabetes
from torch import nn

from probact import FAMILIES, Experiment, MetaTraining, NetworkFamily, halting_statistics, to_datatree

features, progression = load_diabetes(return_X_y=True)
X = torch.as_tensor(features, dtype=torch.float32) * 21  # scikit-learn scales columns to norm 1: back to variance 1
y = torch.as_tensor((progression - progression.mean()) / progression.std(), dtype=torch.float32)


@FAMILIES.register("patients")
class Patients(NetworkFamily):
    """Networks 10-8-1 on the diabetes patients, unit-variance Gaussian errors."""

    def __init__(self) -> None:
        super().__init__(
            make=lambda: nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 1)),
            per_example=lambda output, target: 0.5 * (output.squeeze(-1) - target).square(),
            train=(X[:342], y[:342]),
            held_out=(X[342:], y[342:]),
            batch_size=32,
            observations=64,
        )


def main(meta_steps: int = 80) -> dict[str, float]:
    experiment = Experiment.create(
        family="patients", halting="truncated", horizon=25, batch=16, lr=0.01, meta_steps=meta_steps
    )
    training = MetaTraining(experiment)
    for record in training:
        if record.validation is not None:
            print(f"meta-step {record.step}: -ELBO {record.validation:.2f} nats, E[t] {record.validation_halting:.1f}")
    training.objective.load_state_dict(training.best_weights)
    problems = training.family.sample(100, torch.Generator().manual_seed(1))
    statistics = halting_statistics(to_datatree(experiment, [training.objective], problems))
    losses = {
        "start": float(problems.nll(problems.theta0).mean()),
        "halting": statistics.stopping.loss,
        "horizon": statistics.stopping.loss_horizon,
    }
    print(f"loss at the start {losses['start']:.2f}, at the halting step {losses['halting']:.2f}", end=" ")
    print(f"({statistics.halting.mean:.1f} steps), after 25 steps {losses['horizon']:.2f}")
    return losses


if __name__ == "__main__":
    main()
