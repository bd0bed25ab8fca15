"""The halting model in Pyro's own hands: SVI, TraceEnum_ELBO, and the exact evidence that the bound must not pass.

python examples/svi.py
"""

import pyro
import torch
from pyro.infer import SVI, TraceEnum_ELBO

from probact import ACT, Experiment, Prior
from probact.inference import exact
from probact.inference.posteriors.base import HaltingPosterior
from probact.rules.lstm import CoordinatewiseLSTM
from probact.runs.assembly import build_family
from probact.unrolling.progress import NUM_FEATURES


def main(meta_steps: int = 60) -> None:
    pyro.set_rng_seed(0)
    family = build_family(Experiment.create(family="quadratic"))
    rule = CoordinatewiseLSTM()
    posterior = HaltingPosterior("truncated", rule.num_features + NUM_FEATURES, nu=0.9)
    act = ACT(rule, posterior, Prior(nu=0.9, horizon=20))
    svi = SVI(act.model, act.guide, pyro.optim.ClippedAdam({"lr": 0.01}), TraceEnum_ELBO(max_plate_nesting=1))
    for step in range(meta_steps):
        rollout = act.unroll(family.sample(64, torch.Generator().manual_seed(step)))
        loss = svi.step(rollout)
        if step % 10 == 0 or step == meta_steps - 1:
            evidence = exact.log_evidence(act.prior, rollout.log_likelihood).mean()
            print(f"step {step:3d}: ELBO {-loss:8.3f} <= log p(x) {float(evidence.detach()):8.3f}")


if __name__ == "__main__":
    main()
