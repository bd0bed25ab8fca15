"""Peak memory of one meta-step against H, L and coordinates: writes ``benchmarks/results/memory.json``.

    PROBACT_DATA_DIR=... python benchmarks/memory.py            # all (half an hour: MNIST, 16 networks, H to 200)
    PROBACT_DATA_DIR=... python benchmarks/memory.py small      # 2 networks and quadratics

Each case is a process of its own; what it held before the meta-step (Python, torch, the data) is reported apart.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any

from probact.runs.experiment import Experiment
from probact.support.files import write_atomically
from probact.training.meta_training import MetaTraining

RESULT = Path(__file__).resolve().parent / "results" / "memory.json"
MNIST = {"family": "mnist", "halting": "stick-breaking", "rule_options": {"scale": 0.1}}
SMALL: dict[str, dict[str, Any]] = {
    **{
        f"mnist, L 2, H {horizon}, {'recomputed' if recompute else 'graph kept'}": {
            **MNIST,
            "batch": 2,
            "horizon": horizon,
            "recompute": recompute,
        }
        for recompute in (False, True)
        for horizon in (25, 50, 100)
    },
    **{
        f"mnist, L {num}, H 20, recomputed": {**MNIST, "batch": num, "horizon": 20, "recompute": True}
        for num in (1, 4, 8)
    },
    **{
        f"mnist, L 2, H 20, {hidden} hidden units, recomputed": {
            **MNIST,
            "batch": 2,
            "horizon": 20,
            "recompute": True,
            "family_options": {"hidden": [hidden]},
        }
        for hidden in (10, 40, 80)
    },
    **{
        f"quadratic, whole graph, L 64, H {horizon}, {'recomputed' if recompute else 'graph kept'}": {
            "family": "quadratic",
            "batch": 64,
            "horizon": horizon,
            "truncate": 0,
            "recompute": recompute,
        }
        for recompute in (False, True)
        for horizon in (100, 400)
    },
}
LARGE: dict[str, dict[str, Any]] = {
    f"mnist, L 16, H {horizon}, recomputed": {**MNIST, "batch": 16, "horizon": horizon, "recompute": True}
    for horizon in (20, 100, 200)
}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # GB, as Linux counts in kB


def meta_step(settings: dict[str, Any], told: Any) -> None:
    training = MetaTraining(Experiment.create(**settings, validate_every=10**6, meta_steps=10))
    before, begun = _peak(), time.perf_counter()
    next(iter(training))
    told.send({"before_gb": before, "peak_gb": _peak(), "seconds": time.perf_counter() - begun})


def measure(settings: dict[str, Any]) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    answer, told = context.Pipe(duplex=False)
    process = context.Process(target=meta_step, args=(settings, told))
    process.start()
    found: dict[str, float] = answer.recv()
    process.join()
    return found


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["small"], ["large"]):
        sys.exit("Error: expected nothing, small or large")
    cases = {**(SMALL if sys.argv[1:] != ["large"] else {}), **(LARGE if sys.argv[1:] != ["small"] else {})}
    for name, settings in cases.items():
        row = measure(settings)
        print(f"{name:60} {row['before_gb']:6.2f} GB before, {row['peak_gb']:6.2f} at the peak", flush=True)
        known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        RESULT.parent.mkdir(exist_ok=True)
        write_atomically(RESULT, json.dumps({**known, name: row}, indent=1) + "\n")
