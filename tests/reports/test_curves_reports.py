"""Figures and tables of judging on training curves, from results at the edges."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from probact.judging.curves.evaluation import evaluate_curves
from probact.judging.curves.prices import Price
from probact.reports.curves_figures import draw_all, regret_by_price
from probact.reports.curves_text import curves_tables, short, ways_of, with_error
from tests.helpers.curves import curves_of, drawn_curves


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.0321, 0.0042, ".032±.004"),
        (5.023, 1.21, "5.02±1.21"),
        (12.3, 0.4, "12.3±.4"),
        (-0.01, 0.02, "-.010±.020"),
        (0.5, math.nan, ".500"),
        (math.nan, math.nan, "-"),
    ],
)
def test_a_share_in_a_column(value: float, error: float, text: str) -> None:
    assert with_error(value, error) == text


def test_names_that_differ_at_their_end_stay_apart() -> None:
    assert short("wine") == "wine"
    assert short("fashion-cnn") != short("fashion-mlp")
    assert len(short("a-data-set-of-a-long-name")) == 9


def test_one_price_and_nothing_to_gain(tmp_path: Path) -> None:
    """Curves that only rise: every share is unknown there, and said so."""
    rising = curves_of("rising", [[1, 2, 3], [2, 3, 4]])
    found = evaluate_curves([drawn_curves("a"), drawn_curves("b", seed=1), rising], [Price(0.01)])
    rows = [row for row in found.rows if row.data_set == "rising"]
    assert all(math.isnan(row.regret_share) for row in rows)
    assert all(math.isfinite(found.mean(way).regret_share) for way in ways_of(found))
    assert "-\n" in curves_tables(found)
    assert len(draw_all(found, tmp_path)) == 2
    assert "patience, tuned" in regret_by_price(found)._suptitle.get_text()
