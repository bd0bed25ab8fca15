"""A Pyro user's walk: the halting model under every tool of the library, from prior draws to NUTS over nu.

python examples/pyro_user.py
"""

import math
import warnings

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import (
    MCMC,
    NUTS,
    SVI,
    Predictive,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    config_enumerate,
    infer_discrete,
)
from pyro.infer.importance import vectorized_importance_weights
from pyro.infer.inspect import get_model_relations

from probact import ACT, ESTIMATORS, FAMILIES, RULES, HaltingPosterior, Prior, exact

H = 10


def main(meta_steps: int = 40, num_draws: int = 1000, num_samples: int = 100) -> dict[str, float]:
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    torch.set_default_dtype(torch.float64)
    try:
        with warnings.catch_warnings():  # Trace_ELBO's, that sites could be enumerated
            warnings.simplefilter("ignore")
            return walk(meta_steps, num_draws, num_samples)
    finally:
        torch.set_default_dtype(torch.float32)


def walk(meta_steps: int, num_draws: int, num_samples: int) -> dict[str, float]:
    found: dict[str, float] = {}
    family, rule = FAMILIES.build("regression"), RULES.build("lstm").double()
    head = HaltingPosterior.of(rule, "truncated", nu=0.9)
    act = ACT(rule, head, horizon=Prior(0.9, H, horizon_prior="flat"))  # every step costs -log nu

    # 1. The program: T -> t -> x, in a plate of problems.  What it is given is an unroll and the problems' x.
    def problems(num: int, seed: int) -> torch.Tensor:
        return family.sample(num, torch.Generator().manual_seed(seed)).to(torch.float64)

    rollout = act.unroll(problems(64, 0))
    print("depends on:", get_model_relations(act.model, (rollout,))["sample_sample"])
    trace = poutine.trace(act.model).get_trace(rollout)
    trace.compute_log_prob()
    print(trace.format_shapes().partition("Sample Sites:")[2])

    # 2. SVI with any optimizer of Pyro's.  An estimator of ours is an ELBO: how T and t are summed over.
    svi = SVI(act.model, act.guide, pyro.optim.ClippedAdam({"lr": 0.01}), ESTIMATORS["collapse"]())
    for step in range(meta_steps):
        loss = svi.step(act.unroll(problems(64, step)))
    found["trained bound"] = -loss

    # 3. From here on no training.  The path theta_1..theta_H is kept, so that x can be drawn.
    with torch.no_grad():
        rollout = act.eval().unroll(problems(3, 1000)).with_path(rule)
    evidence = exact.log_evidence(act.prior, rollout.log_likelihood)

    # 4. Prior predictive and posterior predictive of T, t and x.
    model = poutine.uncondition(act.model)
    prior = Predictive(model, num_samples=num_draws, parallel=True)(rollout)
    given = Predictive(act.model, guide=act.guide, num_samples=num_draws, parallel=True, return_sites=["T", "t"])
    latent = given(rollout)
    drawn = Predictive(model, {name: latent[name] for name in ("T", "t")}, parallel=True)(rollout)
    for name, draws in (("prior", prior["x"]), ("posterior", drawn["x"])):
        found[f"{name} predictive error"] = float((draws.mean(0) - rollout.observed).square().mean().sqrt())
    found["prior E[t]"], found["guide E[t]"] = (float(draws["t"].double().mean()) for draws in (prior, latent))

    # 5. condition, do and block.
    at_5 = poutine.trace(poutine.condition(act.model, {"t": torch.full((3,), 5)})).get_trace(rollout)
    found["log p(x|t=5)"] = float(at_5.nodes["x"]["fn"].log_prob(rollout.observed).sum())
    forced = poutine.trace(poutine.do(act.model, {"t": torch.full((3,), 5)})).get_trace(rollout)
    assert torch.equal(forced.nodes["x"]["fn"].t, torch.full((3,), 5))
    assert "T" not in poutine.trace(poutine.block(act.model, hide=["T"])).get_trace(rollout)

    # 6. Exact inference by Pyro: marginals are the exact posterior, infer_discrete draws from it or finds the mode.
    enumerated = config_enumerate(act.model)
    marginals = TraceEnum_ELBO(max_plate_nesting=1).compute_marginals(enumerated, lambda rollout: None, rollout)
    posterior = exact.log_posterior(act.prior, rollout.log_likelihood).exp().T
    found["marginal error"] = float((marginals["t"].probs - posterior).abs().max())
    best = poutine.trace(infer_discrete(enumerated, first_available_dim=-2, temperature=0)).get_trace(rollout)
    print("most likely T and t of each problem:", best.nodes["T"]["value"].tolist(), best.nodes["t"]["value"].tolist())

    # 7. Bounds: enumerated, collapsed, drawn.  Pyro's sum over the problems, ours are means.  (AutoDiscreteParallel's
    # guide q(T) q(t) has none: it puts mass on t > T, where p(t|T) = 0.)
    for elbo in (
        TraceEnum_ELBO(max_plate_nesting=1),
        Trace_ELBO(num_particles=num_draws, vectorize_particles=True, max_plate_nesting=1),
        TraceGraph_ELBO(num_particles=num_draws, vectorize_particles=True, max_plate_nesting=1),
        *(ESTIMATORS[name]() for name in ("enumerate", "collapse")),
    ):
        ours = type(elbo).__name__ in ("Enumerate", "Collapse")
        found[type(elbo).__name__] = -float(elbo.loss(act.model, act.guide, rollout)) / (1 if ours else 3)
    found["log evidence"] = float(evidence.mean())

    # 8. The evidence by importance sampling from the guide.
    with torch.no_grad():
        weights, *_ = vectorized_importance_weights(
            act.model, act.guide, rollout, num_samples=num_draws, max_plate_nesting=1, normalized=False
        )
    found["importance sampling"] = (float(weights.logsumexp(0)) - math.log(num_draws)) / 3

    # 9. NUTS over nu, with a Beta prior; T and t are summed out.
    def over_nu() -> None:
        act.prior = Prior(pyro.sample("nu", dist.Beta(torch.tensor(5.0), torch.tensor(2.0))), H, horizon_prior="flat")
        poutine.block(enumerated, hide_types=["param"])(rollout)

    chain = MCMC(NUTS(over_nu, max_plate_nesting=1), num_samples=num_samples, warmup_steps=60, disable_progbar=True)
    chain.run()
    found["E[nu|x]"] = float(chain.get_samples()["nu"].mean())
    for name, value in found.items():
        print(f"{name:28}{value:10.4f}")
    return found


if __name__ == "__main__":
    main()
