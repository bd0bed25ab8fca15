"""Training curves made by hand."""

from __future__ import annotations

import numpy as np

from probact.curves.corpus import Curves


def curves_of(name: str, valid: object, test: object = None, train: object = None) -> Curves:
    """Of the rows given, which may be of different lengths; ``test`` and ``train`` are ``valid`` where not given."""
    rows = [np.asarray(row, np.float32) for row in valid]  # type: ignore[attr-defined]
    width = max(map(len, rows))

    def table(given: object) -> np.ndarray:
        found = np.full((len(rows), width), np.nan, np.float32)
        for row, values in zip(found, rows if given is None else given, strict=True):  # type: ignore[call-overload]
            row[: len(values)] = values
        return found

    num = len(rows)
    lengths = np.array([len(row) - 1 for row in rows])
    return Curves(name, table(train), table(valid), table(test), lengths, np.full(num, 100), [{}] * num)


def drawn_curves(name: str, num: int = 12, looks: int = 40, seed: int = 0, scale: float = 1.0) -> Curves:
    """Falls by power laws, some with overfitting, noise, a spike or an early end."""
    random = np.random.default_rng(seed)
    t = np.arange(looks + 1)
    rate, floor, over = random.uniform(0.3, 1.5, num), random.uniform(0.1, 0.5, num), random.uniform(0, 0.01, num)
    clean = floor[:, None] + (1 - floor)[:, None] * (t + 1.0) ** -rate[:, None]
    noise = 0.01 * random.standard_normal((3, num, looks + 1))
    valid, test = (clean + over[:, None] * np.maximum(t - 15, 0) + some for some in noise[:2])
    valid[0, 3] += 5.0
    ends = random.integers(looks // 2, looks + 1, num)
    cut = [[scale * row[: end + 1] for row, end in zip(table, ends, strict=True)] for table in (valid, test, clean)]
    return curves_of(name, *cut)
