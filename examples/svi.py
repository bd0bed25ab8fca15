"""The halting model in Pyro's own hands: SVI, and the exact evidence that the bound must not pass.

python examples/svi.py
"""

import pyro
import torch
from pyro.infer import SVI

from probact import ACT, FAMILIES, RULES, HaltingPosterior, exact


def main(meta_steps: int = 60) -> None:
    pyro.set_rng_seed(0)
    family, rule = FAMILIES.build("quadratic"), RULES.build("lstm")
    head = HaltingPosterior.of(rule, "truncated", nu=0.9)
    act = ACT(rule, head, horizon=20)
    svi = SVI(act.model, act.guide, pyro.optim.ClippedAdam({"lr": 0.01}), act.estimator)
    for step in range(meta_steps):
        rollout = act.unroll(family.sample(64, torch.Generator().manual_seed(step)))
        loss = svi.step(rollout)
        if step % 10 == 0 or step == meta_steps - 1:
            evidence = exact.log_evidence(act.prior, rollout.log_likelihood).mean()
            print(f"step {step:3d}: ELBO {-loss:8.3f} <= log p(x) {float(evidence.detach()):8.3f}")


if __name__ == "__main__":
    main()
