"""The model under Pyro's own tools, with every estimator: what a user of Pyro expects of two latent sites and x."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import (
    MCMC,
    NUTS,
    SVI,
    Importance,
    Predictive,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    config_enumerate,
    infer_discrete,
)
from pyro.infer.autoguide import AutoDiscreteParallel
from pyro.infer.importance import vectorized_importance_weights
from pyro.infer.inspect import generate_graph_specification, get_model_relations
from torch import Tensor

from probact.inference import exact
from probact.inference.objectives.act import ACT
from probact.inference.objectives.estimators import ESTIMATORS
from probact.inference.priors import Prior
from probact.unrolling.rollout import Rollout
from tests.helpers.checks import HORIZON, NUM, objective, problems

pytestmark = pytest.mark.usefixtures("double")


def act_of(estimator: str = "collapse", **settings: Any) -> ACT:
    built = objective(**{"objective": "elbo", "estimator": estimator, **settings}).eval()
    assert isinstance(built, ACT)
    pyro.clear_param_store()
    return built


def unrolled(act: ACT, family: str = "regression", num: int = NUM) -> Rollout:
    with torch.no_grad():
        return act.unroll(problems(family, num)).with_path(act.rule)


every_estimator = pytest.mark.parametrize("estimator", list(ESTIMATORS))
every_guide = pytest.mark.parametrize("guide", [{}, {"infer_horizon": True}, {"halting_first": True}], ids=str)


@every_estimator
def test_the_model_has_its_sites_whatever_the_inference(estimator: str) -> None:
    act = act_of(estimator)
    trace = poutine.trace(act.model).get_trace(unrolled(act))
    assert trace.stochastic_nodes == ["optimizees", "T", "t"]
    assert trace.observation_nodes == ["x"]
    T, t = trace.nodes["T"]["value"], trace.nodes["t"]["value"]
    assert bool((t <= T).all())
    assert bool((t >= 1).all())


@every_estimator
def test_log_joint_is_the_model_as_written(estimator: str) -> None:
    """Unscaled: log p(T) + log p(t|T) + log p(x|theta_t), summed over the problems; x by scipy's sense of a normal."""
    act = act_of(estimator)
    rollout, optimizee = unrolled(act), problems("regression")
    T, t = torch.tensor([7, 3, 5, 4, 1]), torch.tensor([2, 3, 1, 4, 1])
    trace = poutine.trace(poutine.condition(act.model, {"T": T, "t": t})).get_trace(rollout)
    assert rollout.path is not None
    theta = rollout.path["theta"][t - 1, torch.arange(NUM)]
    mean = (optimizee.design @ theta.unsqueeze(-1)).squeeze(-1)  # type: ignore[attr-defined]
    x = dist.Normal(mean, 1.0).log_prob(trace.nodes["x"]["value"]).sum(-1)
    expected = act.prior.log_horizon()[T - 1] + act.prior.log_halting()[T - 1, t - 1] + x
    torch.testing.assert_close(trace.log_prob_sum(), expected.sum())


def test_x_of_a_rollout_is_a_table_and_any_other_x_has_its_density() -> None:
    act = act_of()
    rollout = unrolled(act)
    x = rollout.observed + 0.5
    conditioned = poutine.condition(poutine.uncondition(act.model), {"x": x, "t": torch.full((NUM,), 3)})
    trace = poutine.trace(conditioned).get_trace(rollout)
    trace.compute_log_prob()
    assert rollout.path is not None
    predictive = problems("regression").predictive({"theta": rollout.path["theta"][2]})
    assert predictive is not None
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], predictive.log_prob(x))


@every_estimator
def test_condition_do_and_block(estimator: str) -> None:
    act = act_of(estimator)
    rollout, t = unrolled(act), torch.full((NUM,), 2)
    conditioned = poutine.trace(poutine.condition(act.model, {"t": t})).get_trace(rollout)
    assert conditioned.nodes["t"]["is_observed"]
    conditioned.compute_log_prob()
    torch.testing.assert_close(conditioned.nodes["x"]["log_prob"], rollout.log_likelihood[1])
    done = poutine.trace(poutine.do(act.model, {"t": t})).get_trace(rollout)
    done.compute_log_prob()
    torch.testing.assert_close(done.nodes["x"]["log_prob"], rollout.log_likelihood[1])
    assert not torch.equal(done.nodes["t"]["value"], done.nodes["x"]["value"])
    hidden = poutine.trace(poutine.block(act.model, hide=["T"])).get_trace(rollout)
    assert hidden.stochastic_nodes == ["optimizees", "t"]


@pytest.mark.parametrize("site", ["T", "t"])
@pytest.mark.parametrize("guide", [{}, {"halting_first": True}])
def test_collapse_never_ignores_a_site_that_is_set(guide: dict[str, bool], site: str) -> None:
    """Be it the one that is summed in closed form or the one that is enumerated."""
    act = act_of(**guide)
    rollout, data = unrolled(act), {site: torch.full((NUM,), 3)}
    with pytest.raises(ValueError, match=f"^collapse: expected a guide without the site '{site}', which is observed"):
        act.estimator.loss(poutine.condition(act.model, data), act.guide, rollout)
    if site == ("T" if guide else "t"):
        with pytest.raises(
            ValueError, match=r"^collapse: expected t and T of the model to be drawn, got one that is set"
        ):
            act.estimator.loss(poutine.do(act.model, data), act.guide, rollout)


@every_estimator
def test_predictive_draws_t_and_x_from_prior_and_guide(estimator: str) -> None:
    act = act_of(estimator)
    rollout, num = unrolled(act, num=2), 2000
    pyro.set_rng_seed(0)
    model = poutine.uncondition(act.model)
    prior = Predictive(model, num_samples=num, parallel=True)(rollout)
    assert prior["x"].shape == (num, 2, 10)
    _assert_frequencies(prior["T"], act.prior.horizon_distribution().log_pmf.exp().expand(2, -1))
    _assert_frequencies(prior["t"], act.prior.marginal().log_pmf.exp().expand(2, -1))
    posterior = Predictive(act.model, guide=act.guide, num_samples=num, parallel=True, return_sites=["T", "t"])(rollout)
    q, log_horizon = act.belief(rollout), act.prior.log_horizon()
    _assert_frequencies(posterior["t"], q.log_marginal(log_horizon).exp().T)
    drawn = Predictive(model, {name: posterior[name] for name in ("T", "t")}, parallel=True)(rollout)["x"]
    mean = torch.stack([_mean(rollout, step) for step in range(1, HORIZON + 1)])  # t, L, n
    expected = (q.log_marginal(log_horizon).exp().unsqueeze(-1) * mean).sum(0)
    error = (drawn.var(0) / num).sqrt()
    assert bool(((drawn.mean(0) - expected).abs() < 5 * error).all())


def _mean(rollout: Rollout, step: int) -> Tensor:
    assert rollout.path is not None
    predictive = problems("regression", 2).predictive({"theta": rollout.path["theta"][step - 1]})
    assert predictive is not None
    return predictive.mean


def _assert_frequencies(draws: Tensor, pmf: Tensor) -> None:
    """Of ``draws (num, L)``, within 5 standard errors of ``pmf (L, H)``."""
    observed = torch.stack([(draws == step).double().mean(0) for step in range(1, pmf.shape[1] + 1)], 1)
    error = (pmf * (1 - pmf) / len(draws)).sqrt() + 1e-3
    assert bool(((observed - pmf).abs() < 5 * error).all())


def test_x_that_cannot_be_drawn_says_why() -> None:
    act = act_of()
    for rollout, line in (
        (unrolled(act, "quadratic"), "problems with a predictive distribution, got LinearModel"),
        (act.unroll(problems("regression")), r"keeps its path, by rollout.with_path\(rule\), got none"),
        (unrolled(act)._replace(optimizee=None), "got losses alone"),
    ):
        with pytest.raises(ValueError, match=f"^site x: expected .*{line}"):
            poutine.trace(poutine.uncondition(act.model)).get_trace(rollout)


@every_estimator
def test_discrete_inference_is_the_exact_posterior(estimator: str) -> None:
    """``compute_marginals`` and ``infer_discrete``, with t and T enumerated in the model alone."""
    act = act_of(estimator)
    rollout = unrolled(act)
    model = config_enumerate(act.model)
    marginals = TraceEnum_ELBO(max_plate_nesting=1).compute_marginals(model, lambda rollout: None, rollout)
    for site, table in (("t", exact.log_posterior), ("T", exact.log_horizon_posterior)):
        torch.testing.assert_close(marginals[site].probs.T, table(act.prior, rollout.log_likelihood).exp())
    best = poutine.trace(infer_discrete(model, first_available_dim=-2, temperature=0)).get_trace(rollout).nodes
    joint = (act.prior.log_horizon().unsqueeze(-1) + act.prior.log_halting()).unsqueeze(-1) + rollout.log_likelihood
    found = HORIZON * (best["T"]["value"] - 1) + best["t"]["value"] - 1
    assert torch.equal(found, joint.flatten(0, 1).argmax(0))
    pyro.set_rng_seed(0)
    draws = [poutine.trace(infer_discrete(model, first_available_dim=-2)).get_trace(rollout).nodes for _ in range(100)]
    t = torch.stack([nodes["t"]["value"] for nodes in draws])
    _assert_frequencies(t, exact.log_posterior(act.prior, rollout.log_likelihood).exp().T)
    assert all(bool((nodes["t"]["value"] <= nodes["T"]["value"]).all()) for nodes in draws)


@every_guide
def test_bounds_of_pyro_are_ours_in_expectation(guide: dict[str, bool]) -> None:
    """Those that draw T and t, and the one that sums, as ours do; theirs count every problem as one, ours as 1/L."""
    act = act_of(**guide)
    rollout = unrolled(act)
    expected = NUM * float(act.losses(rollout).mean().detach())
    assert TraceEnum_ELBO(max_plate_nesting=1).loss(act.model, act.guide, rollout) == pytest.approx(expected, abs=1e-9)
    pyro.set_rng_seed(0)
    for drawing in (Trace_ELBO, TraceGraph_ELBO):
        elbo = drawing(num_particles=4000, vectorize_particles=True, max_plate_nesting=1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*Found sample sites configured for enumeration")
            assert elbo.loss(act.model, act.guide, rollout) == pytest.approx(expected, abs=0.5)


@every_estimator
@pytest.mark.parametrize("kind", ["Adam", "RMSprop"])
def test_svi_with_any_optimizer_of_pyro(estimator: str, kind: str) -> None:
    act = act_of(estimator)
    act.train()
    svi = SVI(act.model, act.guide, getattr(pyro.optim, kind)({"lr": 0.01}), act.estimator)
    before = [weight.detach().clone() for weight in act.parameters()]
    svi.step(act.unroll(problems("regression"), torch.Generator().manual_seed(0)))
    assert all(not torch.equal(weight, old) for weight, old in zip(act.parameters(), before, strict=True))


def test_the_graph_of_the_model_leads_to_x() -> None:
    act = act_of()
    relations = get_model_relations(act.model, (unrolled(act),))
    assert relations["sample_sample"] == {"T": [], "t": ["T"], "x": ["t"]}
    assert relations["observed"] == ["x"]
    assert relations["plate_sample"] == {"optimizees": ["T", "t", "x"]}
    assert generate_graph_specification(relations)["edge_list"] == [("T", "t"), ("t", "x")]


@every_estimator
def test_format_shapes(estimator: str) -> None:
    act = act_of(estimator)
    trace = poutine.trace(act.model).get_trace(unrolled(act))
    trace.compute_log_prob()
    shapes = {tuple(line.split()) for line in trace.format_shapes().splitlines()}
    assert {("T", "dist", "5", "|"), ("t", "dist", "5", "|"), ("x", "dist", "5", "|", "10")} <= shapes


def test_importance_sampling_of_the_evidence() -> None:
    act = act_of("enumerate", infer_horizon=True)
    rollout = unrolled(act, num=1)
    pyro.set_rng_seed(0)
    with torch.no_grad():
        weights, *_ = vectorized_importance_weights(
            act.model, act.guide, rollout, num_samples=20_000, max_plate_nesting=1, normalized=False
        )
        found = Importance(act.model, act.guide, num_samples=100)
        found.run(rollout)
    evidence = float(exact.log_evidence(act.prior, rollout.log_likelihood))
    assert float(weights.logsumexp(0)) - math.log(20_000) == pytest.approx(evidence, abs=0.05)
    assert float(found.get_log_normalizer()) == pytest.approx(evidence, abs=1.0)


def test_nuts_over_nu_agrees_with_quadrature() -> None:
    """nu ~ Beta, T and t summed out by enumeration: the posterior mean and spread of nu."""
    act = act_of()
    rollout = unrolled(act, num=4)._replace(nll=3 * torch.rand(HORIZON + 1, 4))

    def model() -> None:
        act.prior = Prior(pyro.sample("nu", dist.Beta(torch.tensor(4.0), torch.tensor(2.0))), HORIZON)
        poutine.block(act.model, hide_types=["param"])(rollout)

    pyro.set_rng_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain = MCMC(NUTS(config_enumerate(model), max_plate_nesting=1), num_samples=200, warmup_steps=80,
                     disable_progbar=True)  # fmt: skip
        chain.run()
    draws = chain.get_samples()["nu"]
    grid = torch.linspace(0.005, 0.995, 199)
    log_density = torch.stack([exact.log_evidence(Prior(nu, HORIZON), rollout.log_likelihood).sum() for nu in grid])
    weight = torch.softmax(log_density + dist.Beta(4.0, 2.0).log_prob(grid), 0)
    mean = float((weight * grid).sum())
    spread = float((weight * grid.square()).sum() - mean**2) ** 0.5
    assert float(draws.mean()) == pytest.approx(mean, abs=6 * spread / math.sqrt(len(draws)))
    assert float(draws.std()) == pytest.approx(spread, rel=0.2)


def test_a_mean_field_guide_cannot_be_had() -> None:
    """Pyro's takes its own Categorical alone; and no product q(T) q(t) has a bound, as p(t|T) = 0 for t > T."""
    act = act_of("enumerate")
    rollout = unrolled(act)
    with pytest.raises(NotImplementedError, match="Steps is not supported"):
        AutoDiscreteParallel(poutine.block(act.model, hide_types=["param"]))(rollout)
    T, t = torch.tensor([[1], [3]]), torch.arange(1, HORIZON + 1)
    p_t = act.prior.halting_distribution(T).log_pmf.squeeze(1)
    assert torch.equal(p_t == -math.inf, t > T)
