"""Your own network that answers after every step: learn the answer, and when to stop thinking.

    python examples/own_computation.py

The task: whether a list of signs, of which the last ones may be blank, has an odd number of plus signs. The network
reads one sign a step, from left to right. Blanks need not be read: the halting posterior finds that out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import probact
from probact import Experiment, Hazard, Labelled, MetaTraining, Params


@probact.FAMILIES.register("lists")
class Lists(probact.OptimizeeFamily):
    """Lists of 6 places: 1 to 6 random signs, then blanks."""

    shows = Labelled.shows

    def sample(self, num: int, generator: torch.Generator) -> Labelled:
        length = torch.randint(1, 7, (num, 1), generator=generator)
        signs = torch.randint(0, 2, (num, 6), generator=generator) * 2.0 - 1
        signs = torch.where(torch.arange(6) < length, signs, 0.0)
        odd = (signs > 0).sum(1) % 2
        return Labelled({"answer": torch.zeros(num, 2)}, places=signs.unsqueeze(-1), label=odd, count=length[:, 0])


@probact.RULES.register("left-to-right")
class LeftToRight(probact.Computation):
    """Reads one sign a step, and tells halting whether the next is blank."""

    num_features = 1

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.answer = nn.GRUCell(1, 24), nn.Linear(24, 2)

    def start(self, given: Params) -> tuple[Tensor, Tensor]:
        return given["places"], given["places"].new_zeros(len(given["places"]), 24)

    def think(self, state: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        unread, hidden = state
        hidden = self.cell(unread[:, 0], hidden)
        unread = torch.cat([unread[:, 1:], torch.zeros_like(unread[:, :1])], 1)
        return (unread, hidden), self.answer(hidden), 4.0 * (unread[:, 0] == 0)


def main(meta_steps: int = 600) -> tuple[float, float, float]:
    """Accuracy at the stop, mean steps, and the mean number of signs."""
    experiment = Experiment.create(
        family="lists", rule="left-to-right", halting_first=True, horizon_prior="flat", kl_scale=0.1,
        horizon=8, truncate=0, batch=128, lr=0.01, meta_steps=meta_steps, curriculum=150, validate_every=100,
    )  # fmt: skip
    training = MetaTraining(experiment)
    for record in training:
        if record.validation is not None:
            print(f"meta-step {record.step}: -ELBO {record.validation:.3f} nats, E[t] {record.validation_halting:.1f}")
    trained, lists = training.objective, training.family.sample(1000, torch.Generator().manual_seed(1))
    stopped = probact.run_until_stopped(trained.rule, lists, experiment.horizon, Hazard(0.1), trained.posterior)
    accuracy, steps = float((stopped.nll < 0.69).double().mean()), float(stopped.step.double().mean())
    signs = float(lists.places.abs().sum((1, 2)).mean())
    print(f"accuracy {accuracy:.1%} after {steps:.1f} steps; a list has {signs:.1f} signs")
    return accuracy, steps, signs


if __name__ == "__main__":
    main()
