"""A learned stop in your own PyTorch loop: train a network on scikit-learn's digits, and let the optimizer say when.

    python examples/drop_in.py

First a halting posterior is meta-trained for Nesterov's accelerated gradient, on smaller networks than the one trained
afterwards and on the same split of the images (under a minute); then it decides, from the losses and gradients of the
loop alone, beside the shipped optimizer subspace-mlp, which was trained on MNIST and has its own stop, and beside tuned
torch.optim.Adam, which has to be told when to stop.  The price of a step is 1 nat of the loss summed over 64 held-out
images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from probact import Cumulative, Experiment, LearnedOptimizer, MetaTraining, Objective

NU = math.exp(-1)  # -log nu, the price of a step, is 1
BUDGET = 100
RATES = (0.003, 0.01, 0.03, 0.1)

pixels, labels = load_digits(return_X_y=True)
X, y = torch.as_tensor(pixels, dtype=torch.float32) / 16, torch.as_tensor(labels)
held_out = torch.arange(len(X)) % 5 == 0
Result = tuple[int, float, float]
"""Steps, mean loss and accuracy on the held-out images."""


def meta_train(meta_steps: int) -> MetaTraining:
    """When should NAG stop?  Learned on networks 64-20-10."""
    training = MetaTraining(
        Experiment.create(
            family="digits",
            family_options={"activation": "relu"},
            rule="nag",
            rule_options={"lr": 0.3},
            halting="stick-breaking",
            halting_first=True,
            prior_nu=NU,
            horizon=BUDGET,
            batch=8,
            lr=0.02,
            meta_steps=meta_steps,
            validate_every=meta_steps,
        )
    )
    for _ in training:
        pass
    return training


class Loop:
    """What a user has already: a module, minibatches, a loss."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        self.minibatches = self._minibatches(seed)

    def _minibatches(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        inputs, targets = X[~held_out], y[~held_out]
        while True:
            rows = torch.randint(len(inputs), (64,), generator=generator)
            yield inputs[rows], targets[rows]

    def closure(self) -> Tensor:
        inputs, targets = next(self.minibatches)
        self.model.zero_grad()
        loss = nn.functional.cross_entropy(self.model(inputs), targets)
        loss.backward()
        return loss

    def test(self, steps: int) -> Result:
        with torch.no_grad():
            outputs = self.model(X[held_out])
        loss = nn.functional.cross_entropy(outputs, y[held_out])
        return steps, float(loss), float((outputs.argmax(-1) == y[held_out]).float().mean())


def with_adam(seed: int, rate: float, steps: int) -> Result:
    loop = Loop(seed)
    optimizer = torch.optim.Adam(loop.model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.step(loop.closure)
    return loop.test(steps)


def with_learned_stop(seed: int, trained: Objective) -> Result:
    loop = Loop(seed)
    stop = Cumulative(0.5)  # where half of q(t|x) is spent
    return until_it_stops(loop, LearnedOptimizer(loop.model.parameters(), trained.rule, trained.posterior, stop=stop))


def with_shipped(seed: int) -> Result:
    loop = Loop(seed)
    optimizer = LearnedOptimizer.from_pretrained(loop.model.parameters(), "subspace-mlp", stop="hazard")
    return until_it_stops(loop, optimizer)


def until_it_stops(loop: Loop, optimizer: LearnedOptimizer) -> Result:
    while not optimizer.should_stop() and optimizer.num_steps < BUDGET:
        optimizer.step(loop.closure)
    return loop.test(optimizer.num_steps)


def cost(result: Result) -> float:
    return 64 * result[1] + result[0]


def main(meta_steps: int = 60, num_networks: int = 5) -> dict[str, list[Result]]:
    trained = meta_train(meta_steps).objective.eval()
    seeds = range(num_networks)
    results = {"NAG, learned stop": [with_learned_stop(seed, trained) for seed in seeds]}
    results["subspace-mlp"] = [with_shipped(seed) for seed in seeds]
    same = round(sum(steps for steps, _, _ in results["NAG, learned stop"]) / num_networks)
    for steps in (same, BUDGET):
        rate = min(RATES, key=lambda rate, steps=steps: cost(with_adam(1000, rate, steps)))  # tuned on another network
        results[f"Adam at {rate:g}, {steps} steps"] = [with_adam(seed, rate, steps) for seed in seeds]
    print(f"{num_networks} networks 64-32-10 on digits; mean over networks, on the 360 held-out images\n")
    print(f"{'':24}{'steps':>7}{'loss':>8}{'accuracy':>10}{'64 loss + steps':>17}")
    for label, rows in results.items():
        steps, loss, accuracy = (sum(values) / num_networks for values in zip(*rows, strict=True))
        print(f"{label:24}{steps:7.1f}{loss:8.3f}{accuracy:10.1%}{sum(map(cost, rows)) / num_networks:17.1f}")
    print("\nAdam was told how many steps to make: as many as the learned stop found, or a budget.")
    return results


if __name__ == "__main__":
    main()
