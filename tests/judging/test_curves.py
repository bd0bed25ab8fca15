"""Ways to stop, judged on training curves: what stopping costs, what is tuned on what, what the table says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from probact.curves.corpus import Curves
from probact.judging.curves.evaluation import ORACLE, evaluate_curves
from probact.judging.curves.plain import Budget, Patience
from probact.judging.curves.prices import Price, Priced, best_so_far, judged, mean_and_error, regret_share
from probact.judging.curves.results import CurvesEvaluation
from probact.judging.curves.ways import PATIENCE, USUAL, Way, tried
from tests.helpers.curves import curves_of, drawn_curves
from tests.helpers.properties import assert_settings_are_of_others

PRICES = [Price(0.001), Price(0.01, relative=True)]
FEW = (Way("budget, tuned", [(Budget(), [0, 1, 2, 3, 4, 10])], True), USUAL)


def test_stopping_returns_the_best_look_by_validation() -> None:
    curves = curves_of("one", [[4, 3, 5, 1, 1, 2]], test=[[8, 7, 9, 6, 0, 1]])
    assert best_so_far(curves.valid).tolist() == [[0, 1, 1, 3, 3, 3]]  # of two equal looks the first
    priced = Priced.of(curves, Price(0.5))
    assert priced.J.tolist() == [[8, 7.5, 8, 7.5, 8, 8.5]]
    assert priced.oracle.tolist() == [1]
    assert priced.regret(np.array([5])).tolist() == [1.0]
    assert priced.gain().tolist() == [0.5]
    assert priced.looks.valid[0].tolist() == [8, 6, 10, 2, 2, 4]


def test_a_relative_price_is_a_share_of_the_first_loss_of_each_curve() -> None:
    curves = curves_of("two", [[4, 3], [-2, -5]])
    priced = Priced.of(curves, Price(0.25, relative=True))
    assert priced.price.tolist() == [1, 0.5]
    assert priced.J.tolist() == [[4, 4], [-2, -4.5]]


def test_looks_that_are_lost() -> None:
    """NaN is the look before, inf the worst before; after the last look nobody stops."""
    curves = curves_of(
        "three", [[2, 3, math.inf, 1], [2, math.nan, 1, 3], [2, 1]], test=[[2, 3, 9, 1], [2, 0, 1, 3], [2, 1]]
    )
    priced = Priced.of(curves, Price(1.0))
    assert priced.looks.valid.tolist() == [[2, 3, 3, 1], [2, 2, 1, 3], [2, 1, 1, 1]]
    assert priced.looks.lost.tolist() == [[False, False, True, False], [False, True, False, False], [False] * 4]
    assert priced.J[2].tolist() == [2, 2, math.inf, math.inf]
    assert Budget().stops(priced.looks, 3).tolist() == [3, 3, 1]


def test_curves_that_cannot_be_judged_are_left_out() -> None:
    rows = [[2, 1], [math.inf, 1], [2], [0, 1]]
    assert judged(curves_of("some", rows)).valid.tolist() == [[2, 1]]
    with pytest.raises(ValueError, match="none: expected curves"):
        judged(curves_of("none", rows[1:]))
    found = evaluate_curves([curves_of("some", [*rows, [3, 1]]), drawn_curves("more")], PRICES[:1], ways=FEW)
    assert found.left_out == {"some": 3}
    assert found.judged == {"some": 2, "more": 12}


def test_the_share_is_one_of_never_beginning_and_its_error_that_of_a_ratio() -> None:
    random = np.random.default_rng(0)
    gain = random.exponential(size=20000)
    regret = gain * random.uniform(0, 0.4, size=20000)
    assert regret_share(gain, gain) == (1, 0)
    share = regret_share(regret, gain)
    assert share.value == pytest.approx(0.2, abs=4 * share.error)
    draws = [
        regret_share(regret[some], gain[some]).value
        for some in (random.integers(20000, size=20000) for _ in range(300))
    ]
    assert share.error == pytest.approx(np.std(draws), rel=0.15)
    assert math.isnan(regret_share(regret * 0, gain * 0).value)


def known() -> list[Curves]:
    """Falls of 1 for so many looks, then none: a budget loses what is known."""
    return [curves_of(f"falls-{n}", [[10 - min(t, n) for t in range(11)]] * 3) for n in (2, 4)]


def test_a_table_of_known_regret() -> None:
    """At a price of .5 the best stop of n falls gains .5 n; a budget of the other set's n loses 1."""
    found = evaluate_curves(known(), [Price(0.5)], ways=FEW)
    shares = {(row.data_set, row.way): row.regret_share for row in found.rows}
    assert shares["falls-2", "budget, tuned"] == 1.0  # 4 looks: two without a fall, of a possible gain of 1
    assert shares["falls-4", "budget, tuned"] == 0.5  # 2 looks: two falls less, of a possible gain of 2
    assert shares["falls-2", USUAL.name] == 4.0  # all 10 looks
    assert shares["falls-2", ORACLE] == shares["falls-4", ORACLE] == 0
    assert found.mean("budget, tuned", 0.5).regret_share == found.mean("budget, tuned").regret_share == 0.75
    assert found.mean("budget, tuned").error == pytest.approx(0.25)
    rows = {(row.data_set, row.way): row for row in found.rows}
    assert rows["falls-4", "budget, tuned"].setting == "2 looks"
    assert (rows["falls-4", ORACLE].J, rows["falls-4", ORACLE].looks) == (8, 4)
    assert found.mean(PATIENCE.name).difference == 0
    assert not found.tuned_on


def test_tuned_on_other_data_sets() -> None:
    found = evaluate_curves(known()[:1], [Price(0.5)], tune_on=[known()[1]], ways=FEW)
    assert {row.setting for row in found.rows if row.way == "budget, tuned"} == {"4 looks"}
    assert found.tuned_on == ("falls-4",)
    assert "tuned on falls-4; judged on falls-2" in found.split


def test_one_setting_serves_all_prices() -> None:
    sets = [[Priced.of(curves, price) for price in PRICES] for curves in map(drawn_curves, "ab")]
    grid = [(Patience(share=share), [1, 3, 10, 20]) for share in (0.0, 0.01)]
    each, one = (tried(Way("", grid, each_price), sets) for each_price in (True, False))
    np.testing.assert_array_equal(each.shares, one.shares)
    assert each.shares.shape == (8, 2, 2)
    best = one.best([0, 1])
    assert best == [one.way.settings[one.shares.mean((1, 2)).argmin()]] * 2
    assert each.best([1])[0] == each.way.settings[each.shares[:, 1, 0].argmin()]
    again = [[setting.stops(priced.looks) for priced in sets[0]] for setting in one.way.settings]
    worth = [
        [regret_share(p.regret(s), p.gain()).value for p, s in zip(sets[0], stops, strict=True)] for stops in again
    ]
    np.testing.assert_array_equal(one.shares[:, 0], worth)


def test_settings_are_those_of_other_data_sets() -> None:
    assert_settings_are_of_others()


def test_what_is_judged_and_tuned_on_is_refused() -> None:
    a, b = drawn_curves("a"), drawn_curves("b")
    with pytest.raises(ValueError, match=r"judged or tuned on, got a as both"):
        evaluate_curves([a, b], PRICES, tune_on=[a])
    with pytest.raises(ValueError, match="to --tune-on, got one"):
        evaluate_curves([a], PRICES)
    with pytest.raises(ValueError, match="one file a set of curves, got 'a' judged twice"):
        evaluate_curves([a, a], PRICES)
    with pytest.raises(ValueError, match="--price: expected price > 0"):
        evaluate_curves([a, b], [Price(0.0)])


def test_a_data_set_is_one_whatever_the_model() -> None:
    """Curves of other models on the same data are not other data."""
    mlp, cnn, other = (drawn_curves(name, seed=seed) for seed, name in enumerate(("a-b-mlp", "a-b-cnn", "other")))
    with pytest.raises(ValueError, match=r"got a-b as both"):
        evaluate_curves([mlp], PRICES, tune_on=[cnn, other])
    with pytest.raises(ValueError, match="got one"):
        evaluate_curves([mlp, cnn], PRICES)
    upside_down = curves_of("a-b-cnn", [[10.0 + t for t in range(41)]] * 12)
    found, spoilt = (
        [row.setting for row in evaluate_curves([mlp, some, other], PRICES).rows if row.data_set == "a-b-mlp"]
        for some in (cnn, upside_down)
    )
    assert found == spoilt


def test_values_of_one_group_are_not_taken_for_independent() -> None:
    values = [1.0, 2.0, 4.0, math.nan]
    assert mean_and_error(values) == mean_and_error(values, list("abcd")) == pytest.approx((7 / 3, np.sqrt(7 / 9)))
    doubled = mean_and_error([1, 1, 2, 2, 4, 4], list("aabbcc"))
    assert doubled == pytest.approx((7 / 3, np.sqrt(7 / 9)))
    assert math.isnan(mean_and_error([1.0, 2.0], ["a", "a"])[1])
    assert math.isnan(mean_and_error([math.nan])[0])


def test_an_evaluation_is_what_its_json_says() -> None:
    found = evaluate_curves([drawn_curves("a"), drawn_curves("b", seed=1)], PRICES, ways=FEW)
    again = CurvesEvaluation.from_json(found.to_json())
    assert again.to_json() == found.to_json()
    assert again.mean(USUAL.name, *PRICES[1]) == found.mean(USUAL.name, *PRICES[1])
    with pytest.raises(KeyError):
        again.mean("nothing")


def test_units_change_nothing() -> None:
    """Losses and price times a power of two: the same stops, shares and settings."""
    few = [
        [drawn_curves("a", scale=scale), drawn_curves("b", seed=1, scale=scale)] for scale in (1.0, 2.0**-20, 2.0**20)
    ]
    first, *others = (
        evaluate_curves(sets, [Price(0.003 * scale), Price(0.01, True)])
        for sets, scale in zip(few, (1.0, 2.0**-20, 2.0**20), strict=True)
    )
    for other in others:
        for mine, its in zip(first.rows, other.rows, strict=True):
            assert (mine.setting, mine.looks, mine.way) == (its.setting, its.looks, its.way)
            assert its.regret_share == pytest.approx(mine.regret_share, rel=1e-9)


def test_curves_that_diverge_or_are_strange_are_judged() -> None:
    """No warning, no NaN where there is something to gain, whatever the losses are."""
    random = np.random.default_rng(0)
    rows = []
    for row in 0.01 * random.standard_normal((40, 31)) + 0.98 ** np.arange(31):
        kind = random.integers(5)
        row[5:] = [row[5:], row[5:] - 3, np.inf, 1e30, row[4]][kind]
        rows.append(row[: random.integers(2, 32)])
    sets = [curves_of(name, some) for name, some in (("a", rows[:20]), ("b", rows[20:]))]
    found = evaluate_curves(sets, PRICES)
    assert all(math.isfinite(row.regret_share) and math.isfinite(row.J) for row in found.rows)
    assert min(row.regret_share for row in found.rows) == 0
