"""Fit scikit-learn's models on a grid of hyper-parameters: what the families ``svm`` and ``gradient-boosting`` read.

    python benchmarks/tuning_tables.py                      # writes probact/problems/tuning_tables.json, minutes
    python benchmarks/tuning_tables.py svm breast-cancer    # one table of it

Tables that are there are kept; to fit one anew, take it out of the file.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from typing import Any

import numpy as np

from probact.problems.gradient_boosting import GradientBoosting
from probact.problems.svm import Svm
from probact.problems.tabulated import TABLES, Fit, TabulatedFamily

MODELS: dict[str, type[TabulatedFamily]] = {"svm": Svm, "gradient-boosting": GradientBoosting}


def fitted(model: type[TabulatedFamily], data: str) -> Any:
    """The whole table, ``(n_1, ..., n_d)``."""
    grids = [axis.grid for axis in model.axes]
    table = np.empty([len(grid) for grid in grids])
    fit: Fit = model.fit
    *outer, last = grids
    for place in product(*(range(len(grid)) for grid in outer)):
        values = [grid[i] for grid, i in zip(outer, place, strict=True)]
        table[place] = fit(data, values, last)
        print(model.name, data, values, np.round(table[place], 4), flush=True)
    return table.round(6).tolist()


def main(asked: list[str]) -> None:
    for name, model in MODELS.items():
        for data in model.data_sets:
            tables = json.loads(TABLES.read_text()) if TABLES.exists() else {}
            key = f"{name} {data}"
            if key in tables or not set(asked) <= {name, data}:
                continue
            tables[key] = fitted(model, data)
            TABLES.write_text(json.dumps(tables, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
