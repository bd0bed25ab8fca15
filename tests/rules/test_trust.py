"""What keeps the subspace rule from harm, and the directions that are its own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from probact.rules.base import RULES
from probact.rules.subspace import trust
from probact.rules.subspace.memory import PATHS, DirectionMemory
from probact.rules.subspace.trust import LEAST_LENGTHS, LENGTHS, LONGEST, RECENT, SHRINK
from probact.rules.subspace.whitening import whiten
from probact.unrolling.rollout import unroll
from tests.helpers.checks import problems

pytestmark = pytest.mark.usefixtures("double")

FIRST_SHARE = RULES["subspace"]().first_share
LENGTH = 2.0  # of torch.ones(4)


def after(losses: list[float], step: float = 1.0, backtrack: float = 0.0) -> trust.Trust:
    """One problem that saw ``losses`` along steps of this length in one direction."""
    flat = torch.zeros(1, 3)
    seen = trust.init(flat)
    for loss in losses[:-1]:
        seen = look(seen, loss, backtrack).moved(torch.tensor([[step, 0.0, 0.0]]))
    return look(seen, losses[-1], backtrack)


def look(seen: trust.Trust, loss: float, backtrack: float = 0.0, size: float = 1.0, slope: float = 10.0) -> trust.Trust:
    """With a loss taken in whose gradient is ``slope`` in each coordinate."""
    return seen.take_in(torch.tensor([loss]), torch.full((1, 3), slope), torch.tensor([size]), 1.0, backtrack)


def guarded(seen: trust.Trust, step: Tensor, num_tensors: int = 1) -> Tensor:
    return seen.guard(step, num_tensors)


def follow(losses: Callable[[int, Tensor], float], num: int, backtrack: float = 0.0) -> tuple[trust.Trust, Tensor]:
    """Where steps of 0.01 lead from 0, if ``losses`` of step and theta are seen, in as many steps."""
    theta = torch.zeros(1, 3)
    seen = trust.init(theta)
    for step in range(num):
        seen = look(seen, losses(step, theta), backtrack)
        update = guarded(seen, torch.full((1, 3), 0.01))
        seen, theta = seen.moved(update), theta + update
    return seen, theta


def test_from_a_lost_problem_it_goes_back_to_the_best_iterate_and_on_by_shorter_steps() -> None:
    seen = after([10.0, 5.0, 8.0, 12.5, 12.5])
    torch.testing.assert_close(guarded(seen, torch.ones(1, 3)), torch.tensor([[-3.0, 0.0, 0.0]]))  # theta_1 was best
    there = look(seen.moved(guarded(seen, torch.ones(1, 3))), 5.0)
    torch.testing.assert_close(there.radius, torch.tensor([SHRINK]))
    far = 1e6 * torch.ones(1, 3)
    torch.testing.assert_close(guarded(there, far).norm(), torch.tensor(LONGEST * SHRINK))


def test_noise_is_no_reason_to_go_back() -> None:
    seen = after([10.0, 9.0, 11.5])
    assert bool(seen.risen) is True
    torch.testing.assert_close(guarded(seen, torch.ones(1, 3)), torch.ones(1, 3))


def test_with_exact_gradients_it_backtracks_from_a_loss_that_has_risen() -> None:
    seen = after([10.0, 9.0, 10.5], backtrack=0.75)
    torch.testing.assert_close(guarded(seen, torch.ones(1, 3)), torch.tensor([[-0.75, 0.0, 0.0]]))
    again = look(seen.moved(guarded(seen, torch.ones(1, 3))), 10.2, 0.75)
    torch.testing.assert_close(guarded(again, torch.ones(1, 3)), torch.tensor([[-0.75 * 0.25, 0.0, 0.0]]))


@pytest.mark.parametrize(("slope", "goes_on"), [(10.0, False), (0.01, True)])
def test_with_exact_gradients_it_goes_on_where_no_gradient_explains_the_loss(slope: float, goes_on: bool) -> None:
    """On the way back, 0.25 from the best iterate, the loss is 1.2 above it: by a slope of 10, or by noise."""
    seen = after([10.0, 9.0, 10.5], backtrack=0.75)
    again = look(seen.moved(guarded(seen, torch.ones(1, 3))), 10.2, 0.75, slope=slope)
    assert bool(again.back == 0) is goes_on
    assert bool(again.is_best) is goes_on


def test_the_first_step_of_several_tensors_is_shorter() -> None:
    seen = look(trust.init(torch.zeros(1, 3)), 10.0, size=4.0)
    far = torch.full((1, 3), 1e9)
    torch.testing.assert_close(guarded(seen, far, num_tensors=2).norm(), torch.tensor(LENGTHS * 4.0))
    torch.testing.assert_close(guarded(seen, far).norm(), torch.tensor(LONGEST * 4.0))


def test_a_loss_has_risen_if_it_is_above_all_recent_ones() -> None:
    assert bool(after([10.0, 4.0, 3.0, 3.9], backtrack=0.5).back == 0)
    low = [10.0, *[4.0 - 0.1 * i for i in range(RECENT)]]
    assert bool(after([*low, 4.1], backtrack=0.5).back == 0.5)


def test_the_first_step_may_overshoot() -> None:
    assert bool(after([10.0, 1e4], backtrack=0.5).back == 0)
    assert bool(after([10.0, 1e4]).back == 0)


def test_no_step_is_longer_than_ten_times_the_longest_before() -> None:
    seen = after([10.0, 9.0, 8.0])
    torch.testing.assert_close(guarded(seen, torch.full((1, 3), 1e9)).norm(), torch.tensor(LONGEST))
    step = torch.full((1, 3), 0.5)
    assert torch.equal(guarded(seen, step), step)


@pytest.mark.parametrize(("rise", "backtrack"), [(4.0, 0.0), (40.0, 0.0), (4e4, 0.0), (40.0, 0.9), (4e4, 0.9)])
def test_from_another_task_it_goes_on(rise: float, backtrack: float) -> None:
    """From step 20 on the loss is higher wherever it is looked at."""
    seen, theta = follow(lambda step, theta: 10 + rise * (step >= 20) - float(theta.mean()), 40, backtrack)
    assert float(theta.mean()) > 0.01 * 30
    torch.testing.assert_close(seen.radius, torch.tensor([0.01 * 3**0.5]))


@pytest.mark.parametrize("factor", [3.0, 100.0, 1e6])
def test_alternating_losses_are_no_harm(factor: float) -> None:
    assert float(follow(lambda step, theta: (1.0, factor)[step % 2], 60)[1].mean()) > 0.01 * 45


@pytest.mark.parametrize(
    "noise",
    [
        torch.distributions.Exponential(1.0),
        torch.distributions.LogNormal(0.0, 1.5),
        torch.distributions.Gamma(0.3, 1.0),
    ],
)
def test_losses_of_a_single_example_do_not_stop_it(noise: torch.distributions.Distribution) -> None:
    """It neither rests nor takes steps below the least; of the heaviest tails ways back still undo most steps."""
    torch.manual_seed(0)
    drawn = noise.sample((600,)).tolist()
    seen, theta = follow(lambda step, theta: drawn[step], 600)
    assert float(theta.mean()) > 0.01 * 30
    assert float(seen.radius) >= LEAST_LENGTHS


@pytest.mark.parametrize("constant", [100.0, -1000.0, 1e6])
def test_a_constant_does_not_lengthen_the_first_step(constant: float) -> None:
    assert 0 < first_step(torch.ones(2, 4), constant) <= LONGEST * FIRST_SHARE * LENGTH


@pytest.mark.parametrize("scale", [1e-3, 1e-6, 1e-9])
def test_clipped_gradients_do_not_lengthen_the_first_step(scale: float) -> None:
    assert 0 < first_step(torch.ones(2, 4), 10.0, scale) <= LONGEST * FIRST_SHARE * LENGTH


@pytest.mark.parametrize("theta", [torch.zeros(2, 4), torch.full((2, 4), 1e-3), torch.full((2, 4), 50.0)])
def test_a_first_loss_of_0_does_not_stop_all_motion(theta: Tensor) -> None:
    assert first_step(theta, 0.0) > 1e-6 * (float(theta[0].norm()) or 1)


def first_step(theta: Tensor, loss: float, scale: float = 1.0) -> float:
    rule = RULES["subspace"]().double()
    params = {"theta": theta.double()}
    grads = {"theta": torch.full_like(params["theta"], scale)}
    with torch.no_grad():
        update = rule.step(grads, rule.init(params), params, torch.full((2,), loss)).update["theta"]
    return float(update.norm(dim=1).max())


@pytest.mark.parametrize("constant", [0.0, 100.0, -1000.0])
def test_a_constant_does_not_hide_that_a_problem_is_lost(constant: float) -> None:
    seen = after([loss + constant for loss in (10.0, 5.0, 8.0, 21.0, 21.0)])
    assert bool(seen.back == 1)


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
