"""What keeps the subspace rule from harm, and the directions that are its own."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from probact.rules.base import RULES
from probact.rules.subspace import trust
from probact.rules.subspace.memory import PATHS, DirectionMemory
from probact.rules.subspace.trust import LONGEST, RECENT, SHRINK
from probact.rules.subspace.whitening import whiten
from probact.unrolling.rollout import unroll
from tests.helpers.checks import problems

pytestmark = pytest.mark.usefixtures("double")


def after(losses: list[float], step: float = 1.0, backtrack: float = 0.0) -> trust.Trust:
    """One problem that saw ``losses`` along steps of this length in one direction."""
    flat = torch.zeros(1, 3)
    seen = trust.init(flat)
    for loss in losses[:-1]:
        seen = seen.take_in(torch.tensor([loss]), backtrack).moved(torch.tensor([[step, 0.0, 0.0]]))
    return seen.take_in(torch.tensor([losses[-1]]), backtrack)


def test_from_a_lost_problem_it_goes_back_to_the_best_iterate_and_on_by_shorter_steps() -> None:
    seen = after([10.0, 5.0, 7.0, 12.5])
    torch.testing.assert_close(seen.guard(torch.ones(1, 3)), torch.tensor([[-2.0, 0.0, 0.0]]))  # theta_1 was best
    torch.testing.assert_close(seen.radius, torch.tensor([SHRINK]))
    there = seen.moved(seen.guard(torch.ones(1, 3))).take_in(torch.tensor([5.0]), 0.0)
    far = 1e6 * torch.ones(1, 3)
    torch.testing.assert_close(there.guard(far).norm(), torch.tensor(LONGEST * SHRINK))


def test_noise_is_no_reason_to_go_back() -> None:
    seen = after([10.0, 9.0, 11.5])
    assert bool(seen.risen) is True
    torch.testing.assert_close(seen.guard(torch.ones(1, 3)), torch.ones(1, 3))


def test_with_exact_gradients_it_backtracks_from_a_loss_that_has_risen() -> None:
    seen = after([10.0, 9.0, 10.5], backtrack=0.75)
    torch.testing.assert_close(seen.guard(torch.ones(1, 3)), torch.tensor([[-0.75, 0.0, 0.0]]))
    again = seen.moved(seen.guard(torch.ones(1, 3))).take_in(torch.tensor([10.2]), 0.75)
    torch.testing.assert_close(again.guard(torch.ones(1, 3)), torch.tensor([[-0.75 * 0.25, 0.0, 0.0]]))


def test_a_loss_has_risen_if_it_is_above_all_recent_ones() -> None:
    assert bool(after([10.0, 4.0, 3.0, 3.9], backtrack=0.5).back == 0)
    low = [10.0, *[4.0 - 0.1 * i for i in range(RECENT)]]
    assert bool(after([*low, 4.1], backtrack=0.5).back == 0.5)


def test_the_first_step_may_overshoot() -> None:
    assert bool(after([10.0, 1e4], backtrack=0.5).back == 0)
    assert bool(after([10.0, 1e4]).back == 0)


def test_no_step_is_longer_than_ten_times_the_longest_before() -> None:
    seen = after([10.0, 9.0, 8.0])
    torch.testing.assert_close(seen.guard(torch.full((1, 3), 1e9)).norm(), torch.tensor(LONGEST))
    step = torch.full((1, 3), 0.5)
    assert torch.equal(seen.guard(step), step)


def test_backtracking_makes_lbfgs_safe_where_it_is_not() -> None:
    """On Student-t noise plain steps lose some problems; with backtracking a bad step is undone within a few."""
    optimizee = problems("student-t", 64)
    with torch.no_grad():
        plain, safe = (unroll(RULES["subspace"](backtrack=back).double(), optimizee, 60).nll for back in (0.0, 0.9))
    assert bool((safe[-5:].min(0).values <= safe[0]).all())
    assert float(safe[-1].mean()) < float(plain[-1].mean())


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 5, 3), (4, 2, 2, 3)])
def test_whitening_is_the_polar_factor(shape: tuple[int, ...]) -> None:
    """M = U S V^T becomes U V^T, as far as the damping of a thousandth lets it."""
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    flat = matrix.flatten(2)
    u, s, vt = torch.linalg.svd(flat, full_matrices=False)
    damped = s / (s.square() + 1e-3 * s.square().sum(-1, keepdim=True) / min(flat.shape[1:])).sqrt()
    scale = s.square().sum(-1).sqrt()[:, None, None]
    torch.testing.assert_close(
        whiten(matrix), ((u * damped.unsqueeze(-2)) @ vt * scale).reshape(shape), rtol=1e-4, atol=1e-5
    )


def test_a_vector_stays_as_it_is() -> None:
    vector = torch.randn(3, 7)
    assert whiten(vector) is vector


def test_the_way_to_the_mean_of_the_path() -> None:
    torch.manual_seed(0)
    path = torch.randn(6, 2, 3).cumsum(0)
    memory: Any = DirectionMemory.init(path[0], 1, 0)
    means: list[Tensor] = [path[0] for _ in PATHS]
    for before, now in pairwise(path):
        memory = memory.moved(now - before)
        means = [decay * mean + (1 - decay) * now for decay, mean in zip(PATHS, means, strict=True)]
    torch.testing.assert_close(memory.to_means, torch.stack(means, 1) - path[-1].unsqueeze(1))
