"""Every p(T) with every p(t|T): one prior, one bound whatever the estimator; and what is none is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from probact.inference import exact
from probact.inference.objectives.estimators import ESTIMATORS
from probact.inference.posteriors.base import POSTERIORS
from probact.inference.prior_parts import HALTING_PRIORS, HORIZON_PRIORS, HaltingPrior, HorizonPrior
from probact.inference.priors import Prior
from probact.testing import check_halting_prior, check_horizon_prior
from probact.testing.calibration import simulate
from tests.helpers.checks import HORIZON, objective, problems

pytestmark = pytest.mark.usefixtures("double")

PAIRS = [(T, t) for T in HORIZON_PRIORS for t in HALTING_PRIORS if (T, t) != ("flat", "power")]
every_pair = pytest.mark.parametrize(("horizon_prior", "halting_prior"), PAIRS)


@pytest.mark.parametrize("name", list(HORIZON_PRIORS))
def test_horizon_priors_conform(name: str) -> None:
    check_horizon_prior(HORIZON_PRIORS[name])


@pytest.mark.parametrize("name", list(HALTING_PRIORS))
def test_halting_priors_conform(name: str) -> None:
    check_halting_prior(HALTING_PRIORS[name])


@every_pair
def test_joint_and_truncation_of_every_pair(horizon_prior: str, halting_prior: str) -> None:
    prior = Prior(0.9, 12, horizon_prior=horizon_prior, halting_prior=halting_prior)
    joint = prior.log_horizon().unsqueeze(-1) + prior.log_halting()
    torch.testing.assert_close(joint.exp().sum(0), prior.log_marginal().exp())
    given_t = prior.horizon_given_halting(torch.arange(1, 13)).log_pmf.T
    torch.testing.assert_close(given_t.exp(), joint.exp() / joint.exp().sum(0))
    capped = prior.truncate(5)
    torch.testing.assert_close(capped.log_halting(), prior.log_halting()[:5, :5])
    if horizon_prior not in ("flat", "empirical"):  # all beyond H is put at H, or the smoothing is spread over 1..H
        torch.testing.assert_close(capped.log_horizon(), torch.log_softmax(prior.log_horizon()[:5], 0))


@pytest.mark.parametrize("guide", ["", "infer_horizon", "halting_first"])
@pytest.mark.parametrize("halting", list(POSTERIORS))
def test_enumerated_collapsed_and_exact_bounds_are_one_for_every_prior(halting: str, guide: str) -> None:
    """To 1e-10; and so is the drawn bound, on average over all T that can be drawn."""
    settings: dict[str, Any] = {guide: True} if guide else {}
    acts = {
        name: objective(objective="elbo", halting=halting, estimator=name, kl_scale=0.7, **settings)
        for name in ESTIMATORS
        if not (guide and ESTIMATORS[name].draws_horizon)
    }
    with torch.no_grad():
        rollout = acts["collapse"].eval().unroll(problems("regression", 2))
    first = PAIRS[0]
    some = [pair for pair in PAIRS if pair[0] == first[0] or pair[1] == first[1]]
    for horizon_prior, halting_prior in PAIRS if halting == "stick-breaking" else some:
        prior = Prior(0.8, HORIZON, horizon_prior=horizon_prior, halting_prior=halting_prior)
        for act in acts.values():
            act.train().prior = prior
        expected = acts["collapse"].losses(rollout, 0.8).mean()
        for name in ("enumerate", "collapse"):
            torch.testing.assert_close(acts[name].loss(rollout, 0.8), expected, rtol=1e-10, atol=1e-10)
        if not guide:
            every_T = [rollout._replace(horizon=torch.full((2,), T)) for T in range(1, HORIZON + 1)]
            drawn = torch.stack([acts["sample"].loss(one, 0.8) for one in every_T])
            mean = (prior.log_horizon().exp() * drawn).sum()
            torch.testing.assert_close(mean, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("halting_prior", ["geometric", "uniform"])
@pytest.mark.parametrize(("nu", "horizon"), [(0.95, 100), (0.95, 20), (0.4, 7), (0.999, 30)])
def test_a_flat_price_is_one(nu: float, horizon: int, halting_prior: str) -> None:
    prior = Prior(nu, horizon, horizon_prior="flat", halting_prior=halting_prior)
    torch.testing.assert_close(prior.price(), torch.full((horizon - 1,), -math.log(nu)))
    summed = torch.logsumexp(prior.log_horizon().unsqueeze(-1) + prior.log_halting(), 0)
    torch.testing.assert_close(-summed.diff(), prior.price())
    nll = 5 * torch.rand(horizon, 200)
    best = (nll + prior.step_cost * torch.arange(1, horizon + 1).unsqueeze(-1)).argmin(0)
    assert torch.equal(exact.map_step(prior, -nll), 1 + best)
    other = exact.map_step(Prior(nu, horizon, halting_prior=halting_prior), -nll)
    assert not torch.equal(other, 1 + best)  # the geometric p(T) charges more, the nearer the cap


def test_the_price_of_the_geometric_prior_rises_to_the_cap() -> None:
    """As the issue has it: .054 to .73 at nu = .95, H = 100; it tends to -log nu as H grows."""
    price = Prior(0.95, 100).price()
    assert float(price[0]) == pytest.approx(0.0535, abs=1e-4)
    assert float(price[-1]) == pytest.approx(0.73, abs=0.01)
    assert bool((price.diff() > 0).all())
    assert float(Prior(0.95, 2000).price()[0]) == pytest.approx(-math.log(0.95))


def test_pmfs_by_scipy() -> None:
    T = torch.arange(1, 41).numpy()
    for name, options, pmf in (
        ("poisson", {"mean": 12.0}, stats.poisson.pmf(T - 1, 11.0)),
        ("negative-binomial", {"mean": 12.0, "shape": 3.0}, stats.nbinom.pmf(T - 1, 3.0, 3 / 14)),
        ("uniform", {}, stats.randint.pmf(T, 1, 41)),
    ):
        prior = Prior(0.9, 40, horizon_prior=HORIZON_PRIORS.build(name, options))
        torch.testing.assert_close(prior.log_horizon().exp(), torch.as_tensor(pmf / pmf.sum()))
    steps = HORIZON_PRIORS.build("empirical", {"steps": "3,3,5,99", "smoothing": "0.5"})
    counts = 0.5 / 6 + torch.tensor([0.0, 0, 2, 0, 1, 0])
    torch.testing.assert_close(Prior(0.9, 6, horizon_prior=steps).log_horizon().exp(), counts / counts.sum())


def test_means_that_are_not_given_are_those_of_nu() -> None:
    for name in ("poisson", "negative-binomial"):
        prior = Prior(0.9, 900, horizon_prior=name)
        assert float(prior.horizon_distribution().mean) == pytest.approx(Prior.mean_horizon(0.9), rel=1e-6)


@every_pair
def test_draws_match_the_tables(horizon_prior: str, halting_prior: str) -> None:
    prior = Prior(0.8, 12, horizon_prior=horizon_prior, halting_prior=halting_prior)
    drawn = simulate(prior, torch.distributions.Normal(torch.zeros(12), 1.0), 20_000)
    assert bool((drawn.t <= drawn.T).all())
    for draws, steps in ((drawn.T, prior.horizon_distribution()), (drawn.t, prior.marginal())):
        observed, expected = torch.bincount(draws, minlength=13)[1:], steps.log_pmf.exp() * len(draws)
        kept = expected >= 5
        scaled = expected[kept] * observed[kept].sum() / expected[kept].sum()
        assert stats.chisquare(observed[kept].numpy(), scaled.numpy()).pvalue > 1e-4


class Short(HorizonPrior):
    """A slip: one entry too few."""

    def log_mass(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        return torch.zeros_like(T)[1:]


class Impossible(HorizonPrior):
    """A slip: no mass at step 2."""

    def log_mass(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        return torch.log((T != 2).to(nu.dtype))


class Numbers(HaltingPrior):
    """A slip: a list."""

    def log_mass(self, nu: Tensor, t: Tensor) -> Tensor:
        return [0.0] * len(t)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"horizon_prior": Short()}, "horizon prior 'Short': log_mass: expected logs of shape .*, got shape"),
        ({"horizon_prior": Impossible()}, "'Impossible': log_mass: expected finite logs, got -inf at step 2"),
        ({"halting_prior": Numbers()}, "halting prior 'Numbers': log_mass: expected logs of shape .*, got list"),
        ({"horizon_prior": 3}, "prior: expected a HorizonPrior or its name, got int 3"),
        ({"horizon_prior": "zipf"}, "unknown horizon prior 'zipf': choose from geometric, flat, uniform, poisson"),
        ({"horizon_prior": "flat", "halting_prior": "power"}, "a halting prior that falls more slowly than nu"),
    ],
)  # fmt: skip
def test_what_is_no_prior_is_refused_at_once(parts: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line) as refusal:
        Prior(0.9, 6, **parts)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("registry", "name", "options", "line"),
    [
        (HORIZON_PRIORS, "poisson", {"mean": "0.5"}, "expected mean > 1, got 0.5"),
        (HORIZON_PRIORS, "negative-binomial", {"shape": "0"}, "expected shape > 0"),
        (HORIZON_PRIORS, "empirical", {"steps": "0,3"}, "expected steps >= 1, got 0"),
        (HORIZON_PRIORS, "empirical", {"smoothing": "0"}, "expected smoothing > 0"),
        (HALTING_PRIORS, "power", {"exponent": "-1"}, "expected exponent > 0"),
    ],
)
def test_options_out_of_range(registry: Any, name: str, options: dict[str, str], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        registry.build(name, options)


def test_a_prior_from_settings() -> None:
    act = objective(
        objective="elbo", horizon_prior="poisson", horizon_prior_options={"mean": "5"}, halting_prior="uniform"
    )
    expected = Prior(
        0.8, HORIZON, horizon_prior=HORIZON_PRIORS.build("poisson", {"mean": 5.0}), halting_prior="uniform"
    )
    torch.testing.assert_close(act.prior.log_marginal(), expected.log_marginal())
    torch.testing.assert_close(act.capped(3).prior.log_horizon(), expected.truncate(3).log_horizon())
    other = Prior(0.5, HORIZON, horizon_prior="flat").at(torch.tensor([0.8, 0.9]))
    torch.testing.assert_close(other.price()[1], Prior(0.9, HORIZON, horizon_prior="flat").price())
    torch.testing.assert_close(act.prior.double().log_horizon(), expected.log_horizon())
