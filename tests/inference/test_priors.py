from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import stats
from torch import Tensor
from torch.distributions import kl_divergence

from probact.inference import exact
from probact.inference.priors import Prior
from probact.inference.steps import Drawn, Steps
from tests.helpers.checks import prior_of

NUS = st.floats(1e-3, 1 - 1e-6)
HORIZONS = st.integers(1, 60)


@settings(max_examples=60, deadline=None)
@given(nu=NUS, horizon=HORIZONS)
def test_tables_are_normalised_and_consistent(nu: float, horizon: int) -> None:
    prior = Prior(torch.tensor(nu, dtype=torch.float64), horizon)
    log_T, log_t, log_t_given_T = prior.log_horizon(), prior.log_marginal(), prior.log_halting()
    one = torch.tensor(1.0, dtype=torch.float64)
    torch.testing.assert_close(log_T.exp().sum(), one)
    torch.testing.assert_close(log_t_given_T.exp().sum(-1), one.expand(horizon))
    # the marginal is what the joint says
    torch.testing.assert_close(torch.logsumexp(log_T.unsqueeze(-1) + log_t_given_T, 0), log_t, rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(nu=st.floats(1e-3, 0.98))
def test_untruncated_marginal_is_geometric(nu: float) -> None:
    """Sum over T >= t of p(T) p(t|T) is (1 - nu) nu^(t-1), by scipy's geometric distribution."""
    prior = Prior(torch.tensor(nu, dtype=torch.float64), 4000)
    steps = torch.arange(1, 40)
    geometric = torch.as_tensor(stats.geom.logpmf(steps.numpy(), 1 - nu))
    torch.testing.assert_close(prior.log_marginal()[:39], geometric, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("nu", [0.3, 0.5, 0.9, 0.95, 0.98])
def test_closed_form_means(nu: float) -> None:
    prior = Prior(torch.tensor(nu, dtype=torch.float64), 6000)
    assert float(prior.marginal().mean) == pytest.approx(Prior.mean_halting_step(nu), rel=1e-9)
    assert float(prior.horizon_distribution().mean) == pytest.approx(Prior.mean_horizon(nu), rel=1e-9)


def test_means_recorded_by_the_thesis() -> None:
    assert Prior.mean_halting_step(0.95) == pytest.approx(20)
    assert Prior.mean_horizon(0.95) == pytest.approx(58.5, abs=0.05)
    assert Prior.mean_horizon(0.5) == pytest.approx(4.41, abs=0.01)


@pytest.mark.parametrize("nu", [1e-3, 0.5, 0.999, 1 - 1e-5, 1 - 1e-6])
def test_single_precision_at_both_ends(nu: float) -> None:
    """Float32 with gradient in nu: finite, and close to double precision."""
    leaf = torch.tensor(nu, requires_grad=True)
    single, double = Prior(leaf, 100), Prior(leaf.detach().double(), 100)
    for table in ("log_horizon", "log_marginal", "log_unnormalised_halting", "log_halting_normaliser"):
        value, reference = getattr(single, table)(), getattr(double, table)()
        assert bool(value.isfinite().all())
        torch.testing.assert_close(value.double(), reference, rtol=1e-4, atol=1e-4)
    allowed = torch.ones(100, 100, dtype=torch.bool).tril()
    total = single.log_horizon().sum() + single.log_marginal().sum() + single.log_halting()[allowed].sum()
    total.backward()
    assert leaf.grad is not None
    assert math.isfinite(float(leaf.grad))


def test_gradient_in_nu(double: None) -> None:
    nu = torch.tensor(0.9, requires_grad=True)
    assert torch.autograd.gradcheck(lambda n: Prior(n, 9).log_marginal(), nu)
    assert torch.autograd.gradcheck(lambda n: Prior(n, 9).halting_distribution(torch.tensor(5)).log_pmf[:5], nu)


def test_batched_nu() -> None:
    nu = torch.tensor([0.5, 0.9, 0.99])
    prior = Prior(nu, 6)
    for index, one in enumerate(nu):
        torch.testing.assert_close(prior.log_horizon()[index], Prior(one, 6).log_horizon())
        torch.testing.assert_close(prior.log_halting()[index], Prior(one, 6).log_halting())
    T = torch.tensor([2, 4, 6])
    given_T = prior.halting_distribution(T)
    assert given_T.batch_shape == (3,)
    torch.testing.assert_close(given_T.log_pmf[1], Prior(0.9, 6).log_halting()[3])
    assert prior.halting_distribution(torch.tensor([[1], [2]])).batch_shape == (2, 3)


def test_halting_distribution_is_a_row_of_the_table() -> None:
    prior = Prior(0.9, 6)
    T = torch.tensor([[1], [3], [6]])
    torch.testing.assert_close(prior.halting_distribution(T).log_pmf[:, 0], prior.log_halting()[[0, 2, 5]])
    torch.testing.assert_close(prior.halting_distribution(T[:2], 4).log_pmf[:, 0], prior.log_halting()[[0, 2], :4])


def test_truncated_z_of_the_design() -> None:
    """Z = 1 - (1 + r) r^H + r^(2H+1), the unfactored form."""
    nu, H = 0.9, 12
    r = nu**0.5
    z = 1 - (1 + r) * r**H + r ** (2 * H + 1)
    T = torch.arange(1, H + 1, dtype=torch.float64)
    expected = torch.log(r ** (T - 1) * (1 - r**T) * (1 - nu) / z)
    torch.testing.assert_close(Prior(torch.tensor(nu, dtype=torch.float64), H).log_horizon(), expected)


def test_samples_match_the_pmf() -> None:
    prior = Prior(0.8, 12)
    T = prior.horizon_distribution().sample((20_000,))
    t = prior.halting_distribution(T).sample()
    assert int(t.min()) >= 1
    assert bool((t <= T).all())
    for draws, steps in ((T, prior.horizon_distribution()), (t, prior.marginal())):
        observed = torch.bincount(draws, minlength=13)[1:]
        expected = steps.log_pmf.double().exp() * len(draws)
        assert stats.chisquare(observed.numpy(), (expected / expected.sum() * len(draws)).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("nu", [0.3, 0.9])
def test_mean_of_the_horizon_without_a_cap(nu: float) -> None:
    """The thesis' (1 + r) / (1 - r) - r / (1 - r^2), and that of p_H(T) as H grows."""
    r = nu**0.5
    assert Prior.mean_horizon(nu) == pytest.approx((1 + r) / (1 - r) - r / (1 - r**2))
    assert float(prior_of(nu, 1999).horizon_distribution().mean) == pytest.approx(Prior.mean_horizon(nu))


def test_steps_is_one_based_and_enumerable() -> None:
    pmf = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]])
    steps = Steps(pmf.log())
    assert steps.enumerate_support(expand=False).shape == (3, 1)
    assert steps.enumerate_support().tolist() == [[1, 1], [2, 2], [3, 3]]
    torch.testing.assert_close(steps.log_prob(steps.enumerate_support()).exp(), pmf.T)
    assert steps.expand((4, 2)).batch_shape == (4, 2)
    torch.testing.assert_close(steps.mean, torch.tensor([2.3, 2.0]))
    with pytest.raises(ValueError, match="within the support"):
        steps.log_prob(torch.tensor([0, 4]))
    assert set(steps.sample((1000,))[:, 1].tolist()) == {2}


def test_steps_are_what_pyros_categorical_is_from_1_on() -> None:
    """From logits or probs, unnormalised; moments, entropy and KL; a table that is neither is refused."""
    logits = torch.randn(4, 3, 6)
    ours, theirs = Steps(logits=logits), dist.Categorical(logits=logits)
    torch.testing.assert_close(ours.probs, theirs.probs)
    torch.testing.assert_close(Steps(probs=3 * theirs.probs).logits, theirs.logits)
    torch.testing.assert_close(ours.log_prob(torch.tensor(2)), theirs.log_prob(torch.tensor(1)))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    steps = torch.arange(1.0, 7)
    torch.testing.assert_close(ours.variance, (theirs.probs * (steps - ours.mean.unsqueeze(-1)).square()).sum(-1))
    assert torch.equal(ours.mode, 1 + theirs.probs.argmax(-1))
    other = torch.randn(4, 3, 6)
    expected = kl_divergence(theirs, dist.Categorical(logits=other))
    torch.testing.assert_close(kl_divergence(ours, Steps(logits=other)), expected)
    capped = Steps(torch.tensor([0.5, 0.5, 0.0]).log())
    assert float(kl_divergence(capped, capped)) == 0
    assert float(kl_divergence(Steps(logits=torch.zeros(3)), capped)) == math.inf
    assert ours.expand((2, 4, 3)).probs.shape == (2, 4, 3, 6)
    with pytest.raises(ValueError, match="expected one of log_pmf, logits and probs, got 2"):
        Steps(logits=logits, probs=logits)


@pytest.mark.parametrize("given", [Prior(0.9, 6).halting_distribution, Prior(0.9, 6).horizon_given_halting])
def test_steps_given_others_are_the_rows_of_a_table(given: Any) -> None:
    """Worked out when asked for; and, as Pyro makes a marginal, of the same class from logits alone."""
    index = torch.tensor([[2], [6]])
    rows, table = given(index), given(torch.arange(1, 7)).log_pmf
    torch.testing.assert_close(rows.log_pmf, table[index - 1])
    torch.testing.assert_close(rows.expand((2, 3)).log_pmf, table[index - 1].expand(2, 3, 6))
    assert rows.enumerate_support(expand=False).shape == (6, 1, 1)
    made = type(rows)(logits=torch.zeros(5, 6))
    assert made.expand((2, 5)).batch_shape == (2, 5)
    assert made.enumerate_support().shape == (6, 5)
    torch.testing.assert_close(made.probs, torch.full((5, 6), 1 / 6))


def test_drawn_returns_what_was_drawn() -> None:
    value = torch.tensor([2, 1])
    drawn = Drawn(Prior(0.9, 3).log_horizon(), value).expand((2,))
    assert drawn.sample() is not None
    assert drawn.sample().tolist() == [2, 1]
    torch.testing.assert_close(drawn.log_prob(value), Prior(0.9, 3).log_horizon()[value - 1])


@pytest.mark.parametrize("nu", [0.0, 1.0, -1.0, float("nan")])
def test_refuses_nu_outside_the_unit_interval(nu: float) -> None:
    with pytest.raises(ValueError, match="inside \\(0, 1\\)"):
        Prior(nu, 5)


class Uniform(Prior):
    """p(T) and p(t|T) uniform."""

    def log_horizon(self) -> Tensor:
        return torch.full((self.horizon,), -math.log(self.horizon))

    def log_unnormalised_halting(self) -> Tensor:
        return torch.zeros(self.horizon)


def test_all_follows_from_a_subclasss_own_tables() -> None:
    prior = Uniform(0.9, 6)
    marginal = torch.tensor([sum(1 / T for T in range(t, 7)) / 6 for t in range(1, 7)])
    torch.testing.assert_close(prior.log_marginal().exp(), marginal)
    evidence = exact.log_evidence(prior, torch.linspace(-5, -1, 6).unsqueeze(1))
    torch.testing.assert_close(evidence, (marginal * torch.linspace(-5, -1, 6).exp()).sum().log().reshape(1))
    torch.testing.assert_close(
        prior.halting_distribution(torch.tensor(4)).log_pmf.exp(), torch.tensor([0.25] * 4 + [0.0] * 2)
    )
    torch.testing.assert_close(prior.halting_distribution(torch.tensor(4), 4).log_pmf.exp(), torch.tensor([0.25] * 4))
    torch.testing.assert_close(prior.horizon_given_halting(torch.tensor(6)).log_pmf.exp()[-1], torch.tensor(1.0))
    assert type(prior.truncate(3)) is type(prior.double()) is Uniform


@pytest.mark.parametrize(
    ("method", "table", "line"),
    [
        ("log_horizon", lambda prior: torch.zeros(6), "add up to 1, got a sum that is 5 off"),
        ("log_horizon", lambda prior: torch.full((6,), math.nan), "got a sum that is nan off"),
        ("log_horizon", lambda prior: torch.zeros(3), "expected logs of H = 6 probabilities, got shape"),
        ("log_horizon", lambda prior: [0.0] * 6, "expected logs of H = 6 probabilities, got list"),
        ("log_unnormalised_halting", lambda prior: torch.zeros(5), "expected logs of H = 6 probabilities, got shape"),
    ],
)
def test_a_slip_in_a_prior_of_ones_own(method: str, table: Any, line: str) -> None:
    own = type("Own", (Prior,), {method: table})
    with pytest.raises(ValueError, match=f"^prior 'Own': .*{line}"):
        exact.log_evidence(own(0.9, 6), torch.zeros(6, 1))


@pytest.mark.parametrize("method", ["log_marginal", "log_halting"])
def test_what_follows_cannot_be_ones_own(method: str) -> None:
    with pytest.raises(ValueError, match=rf"prior 'Own': expected log_horizon or .*, got {method}"):
        type("Own", (Prior,), {method: lambda prior: torch.zeros(6)})


@pytest.mark.parametrize("horizon", [3.5, math.inf, 0, "6"])
def test_refuses_a_horizon_that_is_no_number_of_steps(horizon: Any) -> None:
    with pytest.raises(ValueError, match="expected a horizon H >= 1, a whole number, got"):
        Prior(0.9, horizon)
