"""Ways to stop on training curves that nothing was chosen on: writes ``benchmarks/results/curves-<draw>.json``.

    python benchmarks/curves.py development --curves HELD_OUT --tune-on OTHERS --monitor HEAD...
    python benchmarks/curves.py verdict --curves FRESH_HELD_OUT --tune-on OTHERS --monitor HEAD...

HELD_OUT and OTHERS are folders of curves as ``python cli.py curves make`` writes them, HEAD the learned heads of
several training seeds.  Rules are tuned on OTHERS, heads were trained there, and all are judged on HELD_OUT: at 1e-4,
1e-3 and 1e-2 a look, in units of the loss and of the first loss.  The first draw is for development; what is claimed is
judged once, on a fresh one.  ``python benchmarks/curves_guide.py`` then writes the tables and figures of the guide.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pages import RESULTS

from probact.cli.evaluate_curves import read_curves
from probact.judging.curves.evaluation import evaluate_curves
from probact.judging.curves.learned import Head
from probact.judging.curves.prices import Price
from probact.reports.curves_text import curves_tables
from probact.support.files import write_atomically

PRICES = [Price(value, relative) for relative in (False, True) for value in (1e-4, 1e-3, 1e-2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("draw", choices=["development", "verdict"])
    parser.add_argument("--curves", type=Path, nargs="+", required=True)
    parser.add_argument("--tune-on", type=Path, nargs="*", default=[])
    parser.add_argument("--monitor", nargs="*", default=[])
    asked = parser.parse_args()
    sets, others = read_curves(asked.curves), read_curves(asked.tune_on)
    heads = [Head.of(name) for name in asked.monitor]
    result = evaluate_curves(sets, PRICES, others, heads, tell=lambda way: print(way, file=sys.stderr, flush=True))
    RESULTS.mkdir(exist_ok=True)
    write_atomically(RESULTS / f"curves-{asked.draw}.json", result.to_json(indent=1) + "\n")
    print(curves_tables(result))


if __name__ == "__main__":
    main()
