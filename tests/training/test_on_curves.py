"""The halting loss of curves, and what heads are told to expect, against loops."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from probact.curves.corpus import Curves
from probact.inference.posteriors.sequential import StickBreaking
from probact.inference.priors import Prior
from probact.monitoring.head import AHEAD, LEVELS, Expected, squashed
from probact.training.on_corpus import examples_of
from probact.training.on_curves import (
    Batch,
    Examples,
    Targets,
    expectation_loss,
    halting_loss,
    train_head,
    usable,
    varied,
)

RETURNED = torch.tensor([[9.0, 5, 4.5, 4.4, 1], [3, 2.9, 2.8, 2.8, 2.8], [7, 6, 1, 1, 1]], dtype=torch.float64).T
LENGTH = torch.tensor([5, 3, 4])
LOGITS = torch.tensor([[-2.0, -1, 0.5, 1, 0], [0, 1, 0, 0, 0], [-1, -1, -1, 2, 0]], dtype=torch.float64).T
WEIGHT = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
BATCH = Batch(torch.zeros(5, 3, 1), RETURNED, LENGTH, WEIGHT)


def halting_pmf(curve: int) -> list[float]:
    left, pmf = 1.0, []
    for look in range(int(LENGTH[curve])):
        hazard = 1.0 if look == LENGTH[curve] - 1 else torch.sigmoid(LOGITS[look, curve]).item()
        pmf.append(left * hazard)
        left *= 1 - hazard
    return pmf


def test_the_halting_loss_is_expected_cost_less_an_entropy() -> None:
    nats = 2.5
    expected = 0.0
    for curve in range(3):
        pmf, r = halting_pmf(curve), RETURNED[:, curve].tolist()
        cost = sum(p * (r[look] - r[0] + look) for look, p in enumerate(pmf))
        entropy = -sum(p * math.log(p) for p in pmf)
        normaliser = math.log(sum(math.exp(-nats * look) for look in range(len(pmf))))
        expected += WEIGHT[curve].item() * (cost - entropy / nats + normaliser / nats) / 3
    found = halting_loss(StickBreaking(LOGITS), Prior(torch.tensor(math.exp(-2 * nats)).double(), 5), BATCH)
    assert found.item() == pytest.approx(expected)


def test_what_comes_of_going_on() -> None:
    targets = Targets.of(StickBreaking(LOGITS), BATCH)
    for curve in range(3):
        length, r = int(LENGTH[curve]), RETURNED[:, curve].tolist()
        for look in range(length - 1):
            left, gain = 1.0, 0.0
            for later in range(look + 1, length):
                hazard = 1.0 if later == length - 1 else torch.sigmoid(LOGITS[later, curve]).item()
                gain += left * hazard * (r[look] - r[later] - (later - look))
                left *= 1 - hazard
            assert targets.gain[look, curve].item() == pytest.approx(gain)
            costs = [r[later] + later for later in range(look, length)]
            assert targets.remaining[look, curve].item() == pytest.approx(math.log1p(costs.index(min(costs))))
            for place, ahead in enumerate(AHEAD):
                known = look + ahead < length
                assert targets.pays_known[look, curve, place].item() == known
                if known:
                    assert targets.pays[look, curve, place].item() == (r[look] - r[look + ahead] > ahead)


def test_expectations_are_best_where_they_are_true() -> None:
    """Quantiles by their own loss: of 0..100 prices those are 10, 50 and 90."""
    num = 101
    targets = Targets(
        torch.ones(1, num, len(AHEAD), dtype=torch.bool),
        torch.ones(1, num, len(AHEAD), dtype=torch.bool),
        torch.arange(num, dtype=torch.float64).unsqueeze(0),
        torch.zeros(1, num),
        torch.ones(1, num, dtype=torch.bool),
    )

    def loss(levels: tuple[float, ...]) -> float:
        gain = squashed(torch.tensor(levels, dtype=torch.float64)).expand(1, num, len(LEVELS))
        return expectation_loss(Expected(torch.zeros(1, num, len(AHEAD)), gain, torch.zeros(1, num)), targets).item()

    best = loss((10.0, 50.0, 90.0))
    for other in ((12.0, 50.0, 90.0), (10.0, 47.0, 90.0), (10.0, 50.0, 85.0), (8.0, 53.0, 95.0)):
        assert best < loss(other)


def curves(num: int = 12, looks: int = 40) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    test = 0.2 + np.exp(-np.arange(looks) / generator.uniform(2, 20, (num, 1)))
    valid = test + 0.01 * generator.normal(size=test.shape)
    valid[0, 20:] = test[0, 20:] = np.nan
    return valid, test


def test_examples_return_the_best_look_by_validation() -> None:
    valid, test = curves()
    valid[1, 5], test[1, 5] = -1.0, 1.0  # by far the best by what is seen, and not in truth
    found = Examples.of(valid, test, np.full(12, 50.0))
    assert found.length.tolist() == [20] + [40] * 11
    assert (found.returned[5:, 1] == 1).all()
    assert found.returned[4, 1] != 1
    for curve in (2, 3):
        best = [int(valid[curve, : look + 1].argmin()) for look in range(40)]
        assert found.returned[:, curve].tolist() == test[curve, best].tolist()


def test_curves_that_could_have_been_keep_their_ends() -> None:
    valid, test = curves()
    for seed in range(5):
        other, other_test = varied(valid, test, np.random.default_rng(seed))
        assert other.shape == other_test.shape
        assert np.array_equal(np.isnan(other), np.isnan(other_test))
        assert (np.diff(np.isnan(other).astype(int), axis=1) >= 0).all(), "what has ended does not go on"
        assert np.isfinite(other[1:]).all()
        assert not np.array_equal(other[1:], valid[1:, : other.shape[1]])


def diverging() -> tuple[np.ndarray, np.ndarray]:
    """Ends of inf at look 0, 1, 2 and later; one inf within; a test loss of inf at the first look, at a later one."""
    valid, test = (table.copy() for table in curves(24))
    for row, at in enumerate((0, 1, 2, 3, 5, 10, 20)):
        for table in (valid, test):
            table[row, at : at + 3], table[row, at + 3 :] = np.inf, np.nan
    valid[10, 6] = test[11, 0] = test[12, 4] = np.inf
    return valid, test


def test_losses_of_inf_spread_nowhere() -> None:
    valid, test = diverging()
    found = Curves("own", valid, valid, test, (~np.isnan(valid)).sum(1) - 1, np.full(24, 50), [{}] * 24)
    assert usable(valid, test).sum() == 24 - 3
    for seed in range(20):
        examples = examples_of([found], seed)
        for table in (*examples.signals, examples.returned, examples.prices, examples.scale):
            assert np.isfinite(table).all()
        for part in examples.batch(200, np.random.default_rng(seed)):
            assert torch.isfinite(part).all()
        others = varied(valid, test, np.random.default_rng(seed))
        assert not any(np.isneginf(table).any() for table in others)


@pytest.mark.parametrize("loss", [np.inf, 0.0])
def test_curves_of_which_nothing_can_be_learned_are_refused(loss: float) -> None:
    table = np.full((3, 5), loss)
    found = Curves("own", table, table, table, np.full(3, 4), np.full(3, 50), [{}] * 3)
    with pytest.raises(
        ValueError, match=r"own: expected curves with finite losses at the first two looks, .* got none"
    ):
        examples_of([found], 0)


def test_a_head_learns_to_stop_where_it_pays() -> None:
    valid, test = curves(60)
    examples = Examples.joined([Examples.of(valid, test, np.full(60, 50.0))])
    losses = [loss for _, loss, _ in train_head(examples, 0, updates=60, batch=64, hidden_size=8)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.05
    again = [loss for _, loss, _ in train_head(examples, 0, updates=3, batch=64, hidden_size=8)]
    assert all(math.isfinite(loss) for pair in pairwise(again) for loss in pair)
