"""How ``parity`` takes to other nu, for ``loops.py``: adds to ``results/loops-nu.jsonl``, a row a nu, recipe and seed.

    python benchmarks/loops_nu.py judge plain           # NUS from seeds 0, 1, 2; what is there is left alone
    python benchmarks/loops_nu.py tune [NAME ...]       # RECIPES, from --seed 10, at the smallest and largest of NUS

Each from scratch and by one rule: the settings that ``parity`` recommends but nu, KL scale and the recipe, until
learned (``loops.fit``), ``CAP`` meta-steps at most.  At KL scale .05 and the smallest nu, to read 16 entries costs .55
nats and to guess costs log 2 = .69: it pays at no nu to give up.
"""

from __future__ import annotations

from typing import Any

from loops import CAP, Plan, command, measure
from loops_variants import NU_RESULT

NUS = (0.5, 0.7, 0.8, 0.9, 0.95)
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "warm": {"kl_warmup": 400},
    "loss": {"log_loss_weight": 0.1},
    "more": {"log_loss_weight": 1.0},
    "annealed": {"nu_warmup": 400},
}


def main() -> None:
    parser = command(("tune", "judge"), [*RECIPES])
    parser.add_argument("--nu", type=float, nargs="*", choices=NUS)
    given = parser.parse_args()
    tunes = given.what == "tune"
    nus, seeds = ((NUS[0], NUS[-1]), given.seed) if tunes else (NUS, (0, 1, 2))
    for name in given.names or RECIPES:
        for seed in seeds:
            for nu in given.nu or nus:
                settings = {"prior_nu": nu, "kl_scale": 0.05, "meta_steps": CAP, **RECIPES[name]}
                plan = Plan(settings, (seed,), until_learned=True)
                measure(NU_RESULT, f"nu-{nu:g}-{name}", plan, given.runs)


if __name__ == "__main__":
    main()
