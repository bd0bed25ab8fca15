from __future__ import annotations

import re
from dataclasses import replace

import pytest

from probact.judging.results import BestStop, LossRow, StopRow
from probact.reports import text
from probact.reports.columns import table_lines
from probact.reports.rows import of_all_seeds
from tests.helpers.evaluations import STOP, evaluation, full_evaluation

LONG = "regression-lstm-stick-breaking-20300101-120000-123"
STEPS = ("1", "5", "10", "20", "50", "100", "1000")


@pytest.mark.parametrize(
    ("mean", "sem", "shown"),
    [
        (9.1894, 3e-9, "9.1894 ±3e-09"),
        (9.1894, 0.0312, "9.189 ±0.031"),
        (123456.0, 1234.0, "1.2346e+05 ±1e+03"),
        (1.25e-8, 3e-9, "1.25e-08 ±3e-09"),
        (2.5, 0.0, "2.5"),
        (float("inf"), 1.0, "diverged"),
    ],
)
def test_a_mean_keeps_its_digits(mean: float, sem: float, shown: str) -> None:
    row = LossRow(optimizer="mine", kind="trained", seeds=(0,), loss={"6": mean}, sem={"6": sem}, seed_sem={"6": 0.0},
                  diverged={"6": 0}, learning_rate={"6": 0.1})  # fmt: skip
    (line,) = [line for line in text.evaluation_table(evaluation(losses=(row,))).splitlines() if "mine" in line]
    assert line.removeprefix("mine").strip() == shown


@pytest.mark.parametrize(
    ("J", "sem", "shown"),
    [(23.146, 2.0, "23.1 ±2.0"), (23.146, 0.02, "23.146 ±0.020"), (23.146, 21.0, "23 ±21"), (1.5, 0.0, "1.5")],
)
def test_a_price_has_the_digits_that_its_error_leaves(J: float, sem: float, shown: str) -> None:
    row = StopRow(optimizer="mine", trained=True, seed=1, **{**STOP, "J": J, "J_sem": sem})
    table = text.stopping_table(evaluation(stopping=(row,)), [BestStop(**{**vars(row), "num_seeds": 3})])
    for label in ("  4 steps", "  mine (3 seeds): budget"):
        (line,) = [line for line in table.splitlines() if line.startswith(label)]
        assert line.removeprefix(label).lstrip().startswith(f"{shown}  ")


def test_no_table_is_wider_than_a_terminal() -> None:
    """Seven steps, and optimizers named after folders; every number is there all the same."""
    values = {step: 1234.5678 + place for place, step in enumerate(STEPS)}
    mine = LossRow(optimizer=LONG, kind="trained", seeds=(0, 1), loss=values, sem=dict.fromkeys(STEPS, 0.0123),
                   seed_sem=values, diverged=dict.fromkeys(STEPS, 1), learning_rate=values)  # fmt: skip
    rows = (mine, replace(mine, optimizer="adam", kind="baseline", seeds=()))
    (against,) = full_evaluation().against_baselines
    against = replace(against, baseline=dict.fromkeys(STEPS, "adam"), difference=values, sem=values, wins=values)
    table = text.evaluation_table(evaluation(losses=rows, against_baselines=(against,), optimum=-12345.678))
    stops = [StopRow(optimizer=LONG, trained=True, seed=1, share=0.5, rank_correlation=0.5, **STOP)]
    best = [BestStop(**{**vars(stops[0]), "num_seeds": 3})]
    stopping = text.stopping_table(evaluation(stopping=tuple(stops)), best)
    for line in (*table.splitlines(), *stopping.splitlines()):
        assert len(line) <= text.WIDTH, line
    for step in STEPS:
        assert table.count(f"{values[step]:.3f}") == 2
    assert "20300101-120000-123 (2 seeds)"[-20:] in table


def test_cells_never_run_together() -> None:
    """Formulas as best baselines, and losses that all but overflow."""
    formula = "exp(sign(g) * sign(m)) * g"
    losses = dict.fromkeys(STEPS, 1.1348e26)
    mine = LossRow(optimizer="mine", kind="trained", seeds=(0,), loss=losses, sem=dict.fromkeys(STEPS, 1e26),
                   seed_sem=losses, diverged=dict.fromkeys(STEPS, 0), learning_rate=losses)  # fmt: skip
    (against,) = full_evaluation().against_baselines
    against = replace(against, baseline={step: formula if place % 2 else "adam" for place, step in enumerate(STEPS)},
                      difference=losses, sem=losses, wins=losses)  # fmt: skip
    found = evaluation(losses=(mine, replace(mine, optimizer="adam", kind="baseline")), against_baselines=(against,))
    table = text.evaluation_table(found)
    named = [re.split(" {2,}", line) for line in table.splitlines() if line.startswith("best baseline")]
    assert [cell for cells in named for cell in cells[1:]] == list(against.baseline.values())
    shown = [re.split(" {2,}", line) for line in table.splitlines() if line.startswith("mine  ")]
    assert [cell for cells in shown for cell in cells[1:]] == ["1.1348e+26 ±1e+26"] * len(STEPS)
    assert max(map(len, table.splitlines())) <= text.WIDTH
    stop = StopRow(optimizer="mine", trained=True, seed=1, **{**STOP, "J": 1.1348e26, "J_sem": 1e26, "loss": 1.135e26})
    table = text.stopping_table(evaluation(stopping=(stop,)), [BestStop(**{**vars(stop), "num_seeds": 1})])
    for line in [line for line in table.splitlines() if "e+26" in line]:
        assert re.split(" {2,}", line.strip())[1:3] == ["1.1348e+26 ±1e+26", "1.135e+26"]


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        ("cumulative >= 0.652", "cumulative >= 0.652"),
        ("cumulative >= 0.652; cumulative >= 0.652", "cumulative >= 0.652"),
        ("cumulative >= 0.652; cumulative >= 0.71; cumulative >= 0.6", "cumulative >= 0.6 to 0.71"),
        ("|g| <= 0.01; |g| <= 1e-05", "|g| <= 1e-05 to 0.01"),
        ("36 steps; 9 steps", "9 to 36 steps"),
        ("no gain > 0.1 for 3 steps; no gain > 0.1 for 5 steps", "no gain > 0.1 for 3 to 5 steps"),
        *[("no gain > 0.1 for 3 steps; no gain > 0.2 for 5 steps",) * 2],
        ("hazard >= 0.1; cumulative >= 0.2", "hazard >= 0.1; cumulative >= 0.2"),
    ],
)  # fmt: skip
def test_a_rule_of_several_seeds_stands_there_once(rules: str, shown: str) -> None:
    assert of_all_seeds(rules) == shown


def test_a_long_rule_is_not_cut() -> None:
    rule = "no gain > 0.1 for 3 steps; cumulative >= 0.652"
    (line,) = [line for line in table_lines([(f"own stop: {rule}", ["1.5"])], [10]) if "own stop" in line]
    assert line.split("  ")[0] == f"own stop: {rule}"
