"""Runs trained side by side against plain loops of torch."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from probact.curves.data_sets.base import Points
from probact.curves.knobs import SCHEDULES, Knobs, Split, losses, split
from probact.curves.training import Losses, train_together
from probact.problems.modules import perceptron

KNOBS = Knobs("sgd", "constant", 4, 40, 20, 0.0, 0.01, 1.0, 3, 2)
PLAIN = {
    "sgd": lambda weights, lr: SGD(weights, lr, weight_decay=0.01),
    "momentum": lambda weights, lr: SGD(weights, lr, momentum=0.9, weight_decay=0.01),
    "adam": lambda weights, lr: Adam(weights, lr, weight_decay=0.01),
    "adamw": lambda weights, lr: AdamW(weights, lr, weight_decay=0.1),
    "rmsprop": lambda weights, lr: RMSprop(weights, lr, weight_decay=0.01),
}


def one_point() -> Points:
    """Whatever the minibatch is, it is this one."""
    return Points(torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([1]))


def make() -> nn.Module:
    return perceptron([3, 5, 2], nn.Tanh)


@pytest.mark.parametrize("optimizer", PLAIN)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_runs_side_by_side_are_those_of_torch_one_by_one(optimizer, schedule):
    rates, point = torch.tensor([0.003, 0.03]), one_point()
    knobs = Knobs(optimizer, schedule, 4, 1, 1, 0.0, 0.01, 1.0, looks=3, every=4)
    torch.manual_seed(1)
    found = train_together(make, Split(point, point, point), knobs, rates, np.random.default_rng(0))
    torch.manual_seed(1)
    for run, rate in enumerate(rates.tolist()):
        network = make()
        steps = PLAIN[optimizer](network.parameters(), rate)
        factor = LambdaLR(steps, lambda step: SCHEDULES[schedule]((step + 1) / 12))
        expected = [nn.functional.cross_entropy(network(point.x), point.y)]
        for _ in range(12):
            steps.zero_grad()
            expected[-1].backward()
            steps.step()
            factor.step()
            expected.append(nn.functional.cross_entropy(network(point.x), point.y))
        each = torch.stack(expected).detach().numpy()
        np.testing.assert_allclose(found.valid[run], each[::4], rtol=2e-5)
        np.testing.assert_allclose(found.train[run, 1:], each[:12].reshape(3, 4).mean(1), rtol=2e-5)


def test_a_curve_begins_after_the_earlier_training():
    later = one_point()
    earlier = later._replace(x=later.x.repeat(8, 1), y=later.y.repeat(8))
    rates, knobs = torch.tensor([1e-9]), KNOBS
    torch.manual_seed(1)
    fresh = train_together(make, Split(later, later, later), knobs, rates, np.random.default_rng(0))
    before = later._replace(earlier=earlier)
    tuned = train_together(make, Split(before, later, later), knobs, rates, np.random.default_rng(0))
    assert tuned.valid[0, 0] < 0.1 * fresh.valid[0, 0]


def test_losses_are_those_of_torch_run_by_run():
    generator = torch.Generator().manual_seed(0)
    text, following = torch.randn(2, 6, 4, 5, generator=generator), torch.randint(5, (2, 6, 4), generator=generator)
    values, target = torch.randn(2, 6, 3, generator=generator), torch.randn(2, 6, 3, generator=generator)
    for run in range(2):
        expected = nn.functional.cross_entropy(text[run].transpose(1, 2), following[run])
        torch.testing.assert_close(losses(text, following)[run], expected)
        torch.testing.assert_close(losses(values, target)[run], nn.functional.mse_loss(values[run], target[run]))


def test_a_diverged_run_keeps_three_infinite_looks_and_ends():
    valid = np.array([[1.0, 2, np.nan, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, np.inf]])
    test = np.where(np.isnan(valid), 1, valid)
    train, valid32, test32, lengths = Losses(np.ones_like(valid), valid, test).ended()
    assert lengths.tolist() == [4, 6, 6]
    nan, inf = np.nan, np.inf
    np.testing.assert_array_equal(valid32[0], [1, 2, inf, inf, inf, nan, nan])
    np.testing.assert_array_equal(test32[0], [1, 2, inf, inf, inf, nan, nan])
    np.testing.assert_array_equal(train[0], [nan, 1, inf, inf, inf, nan, nan])
    np.testing.assert_array_equal(valid32[1:], [[1] * 7, [1] * 6 + [inf]])


def test_parts_share_no_point_and_only_the_labels_to_train_on_are_noisy():
    num = 1000
    points = Points(torch.arange(num).view(-1, 1), torch.arange(num) % 4)
    knobs = Knobs("sgd", "constant", 4, 500, 100, 0.4, 0.0, 1.0, 3, 2)
    parts = split(points, knobs, np.random.default_rng(0))
    seen = torch.cat([part.x for part in parts]).flatten()
    assert len(seen.unique()) == len(seen) == 500 + 100 + 250
    wrong = [(part.y != part.x.flatten() % 4).float().mean().item() for part in parts]
    assert wrong == [pytest.approx(0.3, abs=0.06), 0, 0]  # a class in four is replaced by itself


def test_noise_of_values_has_the_size_asked_for():
    points = Points(torch.zeros(4000, 1), torch.zeros(4000, 1))
    knobs = Knobs("sgd", "constant", 4, 2000, 100, 0.3, 0.0, 1.0, 3, 2)
    parts = split(points, knobs, np.random.default_rng(0))
    assert parts.train.y.std().item() == pytest.approx(0.3, rel=0.1)
    assert not parts.valid.y.any()
