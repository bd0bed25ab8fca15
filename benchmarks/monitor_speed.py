"""What one look costs a training loop: writes ``benchmarks/results/monitor-speed.json``.

    python benchmarks/monitor_speed.py

CPU time of ``update`` and ``should_stop`` of the shipped head, in microseconds a look, for one curve and for many at
once, early and late in a run: the smallest of several repetitions of 200 looks, as other work on the machine only adds.
"""

from __future__ import annotations

import json
import time
import warnings

import numpy as np
import torch
from pages import RESULTS

from probact import HaltingMonitor
from probact.support.files import write_atomically

REPETITIONS, LOOKS = 7, 200


def cost(num: int | None, before: int) -> float:
    """Microseconds a look after ``before`` looks."""
    monitor = HaltingMonitor(1e-9, num=num)
    losses = np.exp(-np.arange(before + REPETITIONS * LOOKS) / 500)[:, None].repeat(num or 1, 1)
    rows = losses if num else losses[:, 0]
    for row in rows[:before]:
        monitor.update(row)
    seconds = []
    for part in np.split(rows[before:], REPETITIONS):
        start = time.process_time()
        for row in part:
            monitor.update(row)
            monitor.should_stop()
        seconds.append(time.process_time() - start)
    return round(1e6 * min(seconds) / LOOKS, 1)


def main() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "HaltingMonitor: it stopped", UserWarning)
    found = {
        "one curve": cost(None, 10),
        "one curve, after 10,000 looks": cost(None, 10_000),
        "100 curves at once": cost(100, 10),
    }
    write_atomically(RESULTS / "monitor-speed.json", json.dumps({"microseconds a look": found}, indent=1) + "\n")
    for what, microseconds in found.items():
        print(f"{what}: {microseconds} us")


if __name__ == "__main__":
    main()
