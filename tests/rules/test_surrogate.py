"""What a search knows of f, against Gaussian processes written out densely."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from probact.rules.candidates import candidates
from probact.rules.searches import length_grid
from probact.rules.surrogate import (
    JITTER,
    OFFSET,
    PSEUDO_VALUES,
    Beliefs,
    Surrogate,
    expected_improvement,
    log_expected_improvement,
)
from probact.support.kernels import correlation

L, N = 3, 7


def asked(dim: int, num: int = N) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(dim)
    x = torch.rand(L, num, dim, generator=random, dtype=torch.float64)
    return x, torch.sin(5 * x).sum(-1) + torch.arange(L).unsqueeze(-1)


def taught(surrogate: Surrogate, x: Tensor, y: Tensor, lengths: Tensor) -> Beliefs:
    beliefs = surrogate.init(len(x), x.shape[-1], lengths)
    for query, value in zip(x.unbind(1), y.unbind(1), strict=True):
        beliefs = surrogate.take_in(beliefs, query, value)
    return beliefs


def dense(x: np.ndarray, y: np.ndarray, at: np.ndarray, length: float, kernel: str) -> tuple[np.ndarray, ...]:
    """Mean, standard deviation and log weight of one process through the values of one function, by solving."""

    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(a[:, None] - b[None], axis=-1) / length
        if kernel == "rbf":
            return np.exp(-0.5 * r**2) + OFFSET
        s = math.sqrt(5) * r
        return (1 + s + s**2 / 3) * np.exp(-s) + OFFSET

    z = (y - y.mean()) / y.std()
    K = k(x, x) + JITTER * np.eye(len(x))
    Q = z @ np.linalg.solve(K, z)
    amplitude = math.sqrt((PSEUDO_VALUES + Q) / (PSEUDO_VALUES + len(y)))
    cross = k(x, at)
    mean = cross.T @ np.linalg.solve(K, z)
    variance = 1 + OFFSET - (cross * np.linalg.solve(K, cross)).sum(0)
    log_weight = -0.5 * np.linalg.slogdet(K)[1] - 0.5 * (PSEUDO_VALUES + len(y)) * math.log(PSEUDO_VALUES + Q)
    return mean * y.std() + y.mean(), amplitude * np.sqrt(variance) * y.std(), log_weight


@pytest.mark.parametrize("kernel", ["rbf", "matern52"])
@pytest.mark.parametrize("dim", [1, 3])
def test_beliefs_are_those_of_a_dense_gaussian_process(dim: int, kernel: str) -> None:
    x, y = asked(dim)
    lengths = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64).expand(L, -1)
    surrogate = Surrogate(kernel)
    beliefs = taught(surrogate, x, y, lengths)
    at = torch.rand(1, 5, dim, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    mean, sd, log_weights, _ = surrogate.posterior(beliefs, at.expand(L, -1, -1))
    for row in range(L):
        expected = [dense(x[row].numpy(), y[row].numpy(), at[0].numpy(), float(one), kernel) for one in lengths[row]]
        means, sds, weights = (np.stack(part) for part in zip(*expected, strict=True))
        np.testing.assert_allclose(mean[row] + beliefs.first[row], means, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(sd[row], sds, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(log_weights[row], weights - np.logaddexp.reduce(weights), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("z", [-40.0, -9.0, -2.0, -1.0, -0.3, 0.0, 0.4, 3.0, 12.0])
def test_expected_improvement_and_its_log_to_many_digits(z: float) -> None:
    sd = 0.7
    with mpmath.workdps(60):
        exact = mpmath.mpf(sd) * (mpmath.mpf(z) * mpmath.ncdf(z) + mpmath.npdf(z))
        log_exact = float(mpmath.log(exact))
    mean, one, best = (torch.tensor(value, dtype=torch.float64) for value in (2.0, sd, 2.0 + z * sd))
    assert float(log_expected_improvement(mean, one, best)) == pytest.approx(log_exact, rel=1e-8, abs=1e-8)
    assert float(expected_improvement(mean, one, best)) == pytest.approx(float(exact), rel=1e-6 if z < -5 else 1e-8)


def test_expected_improvement_is_that_of_draws() -> None:
    draws = 0.5 + 0.8 * torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain = (0.2 - draws).clamp_min(0)
    found = expected_improvement(*(torch.tensor(value, dtype=torch.float64) for value in (0.5, 0.8, 0.2)))
    assert float(found) == pytest.approx(float(gain.mean()), abs=4 * float(gain.std()) / 400_000**0.5)


def test_the_gradient_of_expected_improvement_has_a_closed_form() -> None:
    """dEI / dmean = -Phi(z), dEI / dsd = phi(z)."""
    mean, sd = (torch.linspace(*ends, 9, dtype=torch.float64).requires_grad_() for ends in ((-1, 2), (0.2, 1)))
    best = torch.tensor(0.3, dtype=torch.float64)
    z = ((best - mean) / sd).detach()
    normal = torch.distributions.Normal(torch.zeros_like(z), torch.ones_like(z))
    wanted = -normal.cdf(z), normal.log_prob(z).exp()
    gain = expected_improvement(mean, sd, best)
    got = torch.autograd.grad(gain.sum(), (mean, sd))
    torch.testing.assert_close(got, wanted)
    of_log = torch.autograd.grad(log_expected_improvement(mean, sd, best).sum(), (mean, sd))
    torch.testing.assert_close(of_log, tuple(grad / gain.detach() for grad in wanted))


@pytest.mark.parametrize("dim", [1, 2])
def test_a_proposal_is_the_best_of_the_box(dim: int) -> None:
    x, y = asked(dim)
    surrogate = Surrogate("rbf")
    beliefs = taught(surrogate, x, y, length_grid(dim).expand(L, -1))
    found = surrogate.propose(beliefs)
    assert bool(((found.x >= 0) & (found.x <= 1)).all())
    points = torch.linspace(0, 1, 2001 if dim == 1 else 71, dtype=torch.float64)
    box = torch.cartesian_prod(*[points] * dim).reshape(-1, dim)
    best = y.min(1).values - beliefs.first

    def gain(at: Tensor) -> Tensor:
        mean, sd, log_weights, _ = surrogate.posterior(beliefs, at)
        each = expected_improvement(mean, sd, best.view(-1, 1, 1))
        return (log_weights.exp().unsqueeze(-1) * each).sum(1)

    torch.testing.assert_close(gain(found.x.unsqueeze(1)).squeeze(1), found.expected)
    assert bool((found.expected >= 0.98 * gain(box.expand(L, -1, -1)).max(1).values).all())


def test_a_known_process_is_of_mean_0_and_variance_1() -> None:
    x, y = asked(1)
    surrogate = Surrogate("rbf", known=True)
    lengths = torch.full((L, 1), 0.2, dtype=torch.float64)
    beliefs = taught(surrogate, x, y, lengths)
    at = torch.rand(L, 4, 1, dtype=torch.float64)
    mean, sd, *_ = surrogate.posterior(beliefs, at)

    def k(a: Tensor, b: Tensor) -> Tensor:
        return correlation(((a.unsqueeze(2) - b.unsqueeze(1)) / 0.2).square().sum(-1), "rbf")

    K = k(x, x) + JITTER * torch.eye(N, dtype=torch.float64)
    cross = k(x, at)
    torch.testing.assert_close(mean.squeeze(1), (cross * torch.linalg.solve(K, y.unsqueeze(-1))).sum(1))
    variance = 1 - (cross * torch.linalg.solve(K, cross)).sum(1)
    torch.testing.assert_close(sd.squeeze(1).square(), variance, rtol=1e-5, atol=1e-8)


def test_candidates_fill_the_box() -> None:
    for dim in (1, 2, 6):
        points = candidates(dim)
        assert points.shape[1] == dim
        assert bool(((points >= 0) & (points <= 1)).all())
        assert float(points.mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("settings", [{}, {"best_alone": True}, {"known": True}, {"kernel": "matern52"}])
def test_on_numpys_arrays_it_is_the_same(dim: int, settings: dict[str, Any]) -> None:
    x, y = asked(dim, 20)
    surrogate = Surrogate(**{"kernel": "rbf", **settings})
    lengths = length_grid(dim).expand(L, -1)
    beliefs, other = surrogate.init(L, dim, lengths), surrogate.init(L, dim, lengths)
    other = Beliefs(*(part.numpy() for part in other))
    for query, value in zip(x.unbind(1), y.unbind(1), strict=True):
        beliefs = surrogate.take_in(beliefs, query, value)
        other = surrogate.take_in(other, query.numpy(), value.numpy())
        found, same = surrogate.propose(beliefs), surrogate.propose(other)
        assert all(isinstance(part, np.ndarray) for part in (*other, *same))
        torch.testing.assert_close(torch.from_numpy(same.x), found.x)
        torch.testing.assert_close(torch.from_numpy(same.expected), found.expected, rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(np.exp(same.log_weights), found.log_weights.exp(), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("num", [3, 16, 17])
def test_what_was_believed_stays_as_it_was(num: int) -> None:
    """Two that go on from the same beliefs do not write over each other's rows."""
    x, y = asked(1, num + 3)
    surrogate, lengths = Surrogate("rbf"), length_grid(1).expand(L, -1)
    before = taught(surrogate, x[:, :num], y[:, :num], lengths)
    proposed = surrogate.propose(before)

    def gone_on(beliefs: Beliefs, sign: float) -> Beliefs:
        for step in range(num, num + 3):
            beliefs = surrogate.take_in(beliefs, x[:, step], sign * y[:, step])
        return beliefs

    here = gone_on(before, 1.0)
    expected = surrogate.propose(here)
    gone_on(before, -1.0)
    torch.testing.assert_close(surrogate.propose(before), proposed, rtol=0, atol=0)
    torch.testing.assert_close(surrogate.propose(here), expected, rtol=0, atol=0)
    torch.testing.assert_close(surrogate.propose(taught(surrogate, x, y, lengths)), expected)
