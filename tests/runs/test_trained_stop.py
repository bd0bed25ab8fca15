from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from probact import LearnedOptimizer
from probact.drop_in.stop import NO_NEWS
from probact.runs.trained import TrainedOptimizer
from probact.stopping.base import STOP_RULES
from probact.stopping.rules import Budget, Patience
from tests.helpers.checks import objective

OPTIONS = {"hidden_size": 4}


def trained(halting: str = "stick-breaking") -> TrainedOptimizer:
    built = objective(rule_options=OPTIONS, halting=halting)
    return TrainedOptimizer(built.rule, OPTIONS, built.posterior, 0.8, 7)


@pytest.mark.parametrize("name", [name for name in STOP_RULES if not STOP_RULES[name].needs_expectation])
def test_saved_and_worn(name: str, tmp_path: Path) -> None:
    stop = STOP_RULES[name].candidates()[-1].at(0.25)
    one, path = replace(trained(), stop=stop), tmp_path / "one.pt"
    one.save(path)
    found = TrainedOptimizer.load(path)
    assert found.describe() == one.describe()
    assert found.describe().endswith(f"trained on 7 steps, stop {stop.describe()}")
    worn = LearnedOptimizer.from_pretrained([nn.Parameter(torch.ones(2))], path).stop
    assert worn is not None
    assert worn.to_json() == stop.to_json()


def test_the_stop_given_stands_before_the_files(tmp_path: Path) -> None:
    replace(trained(), stop=Patience(3.0)).save(tmp_path / "one.pt")
    given = Budget(2.0)
    assert (
        LearnedOptimizer.from_pretrained([nn.Parameter(torch.ones(2))], tmp_path / "one.pt", stop=given).stop is given
    )


def test_the_drop_in_stops_where_the_file_says(tmp_path: Path) -> None:
    replace(trained("none"), stop=Budget(3.0)).save(tmp_path / "one.pt")
    theta = nn.Parameter(torch.ones(2))
    optimizer = LearnedOptimizer.from_pretrained([theta], tmp_path / "one.pt")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = theta.square().sum()
        loss.backward()
        return loss

    looks = 0
    while not optimizer.should_stop() and looks < 20:
        optimizer.step(closure)
        looks += 1
    assert looks == 4  # theta_0 is looked at, but is no place to stop


def test_an_older_file_has_none(tmp_path: Path) -> None:
    trained().save(tmp_path / "one.pt")
    content = torch.load(tmp_path / "one.pt", weights_only=True)
    del content["stop"]
    torch.save(content, tmp_path / "older.pt")
    assert TrainedOptimizer.load(tmp_path / "older.pt").stop is None
    worn = LearnedOptimizer.from_pretrained([nn.Parameter(torch.ones(2))], tmp_path / "older.pt").stop
    assert worn is NO_NEWS


def test_a_rule_that_is_not_known_here_is_named(tmp_path: Path) -> None:
    replace(trained(), stop=Budget(3.0)).save(tmp_path / "one.pt")
    content = torch.load(tmp_path / "one.pt", weights_only=True)
    content["stop"]["name"] = "of-a-stranger"
    torch.save(content, tmp_path / "other.pt")
    words = r"other\.pt: unknown stop rule 'of-a-stranger': choose from budget.*: import its module first"
    with pytest.raises(ValueError, match=words):
        TrainedOptimizer.load(tmp_path / "other.pt")
    with pytest.raises(ValueError, match=words):
        LearnedOptimizer.from_pretrained([nn.Parameter(torch.ones(2))], tmp_path / "other.pt")


@pytest.mark.parametrize("part", ["rule", "halting"])
def test_so_is_any_other_part(part: str, tmp_path: Path) -> None:
    trained().save(tmp_path / "one.pt")
    content = torch.load(tmp_path / "one.pt", weights_only=True)
    content[part]["name"] = "of-a-stranger"
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"unknown .* 'of-a-stranger': .* import its module first\)"):
        TrainedOptimizer.load(tmp_path / "other.pt")
