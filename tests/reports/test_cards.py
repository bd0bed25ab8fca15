from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from probact.cli.fit import command_line
from probact.problems.base import FAMILIES
from probact.runs.assembly import build_objective
from probact.runs.experiment import SETTINGS, Experiment
from probact.runs.run import Run
from probact.runs.trained import TrainedOptimizer
from probact.training.loop import train
from tests.helpers.commands import assert_reproduced, parsed, plain, refused
from tests.helpers.trainings import TINY, tiny

pytestmark = pytest.mark.usefixtures("undrawn")

OF_A_SOURCE = ("begin_with", "freeze_rule")
CHANGED: dict[str, Any] = {
    "family_options": {"dim": 3},
    "rule_options": {"hidden_size": 4, "scale": 0.5},
    "objective_options": {"power": 2},
    "horizon_prior_options": {"mean": 12.5},
    "halting_prior_options": {"exponent": 2.5},
    "prior_nu": 0.123,
    "prior_nu_range": (0.5, 0.99),
    "kl_scale": 1e-05,
    "device": "cuda",
}
"""Where one more or another one would not do, or would prove less."""
BESIDE = {"prior_nu_range": {"looks": True}, "recall": {"looks": True}}
"""What a setting cannot do without."""


def away_from(default: Any, setting: str) -> Any:
    if setting in CHANGED:
        return CHANGED[setting]
    if choices := SETTINGS[setting].choices:
        return next(name for name in choices if name != default)
    return not default if isinstance(default, bool) else 2 * default + 4


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_command_of_a_family_is_short_and_makes_the_same(family: str) -> None:
    """Also where the family's recommendations are overruled."""
    recommended = Experiment.create(family=family)
    assert_reproduced(recommended)
    assert command_line(recommended) in ("python cli.py fit", f"python cli.py fit --family {family}")
    assert_reproduced(Experiment(family=family, rule_options=recommended.rule_options))
    for guide in ("infer_horizon", "halting_first"):
        assert_reproduced(Experiment.create(family=family, **{guide: True}))
    assert_reproduced(Experiment.create(family=family, rule="adam", rule_options={"lr": 0.3}))


@pytest.mark.parametrize("setting", [entry.name for entry in fields(Experiment) if entry.name not in OF_A_SOURCE])
def test_every_setting_is_on_the_command_line(setting: str) -> None:
    """One at a time, away from its default."""
    default = getattr(Experiment(), setting)
    given = away_from(default, setting)
    assert given != default
    experiment = Experiment.create(**{setting: given}, **BESIDE.get(setting, {}))
    assert_reproduced(experiment)


def test_lists_spaces_and_files() -> None:
    assert_reproduced(
        Experiment.create(
            family="mnist",
            family_options={"hidden": [20, 20], "activation": "relu", "mixed": True},
            rule="subspace",
            meta_steps=7,
            truncate=0,
        )
    )


def test_the_command_of_a_training_that_began_with_another(elsewhere: Path) -> None:
    """Rule and options are the source's, and so are not on the line."""
    built = build_objective(tiny(rule="subspace", rule_options={"hidden_size": 4}))
    TrainedOptimizer(built.rule, {"hidden_size": 4}, built.posterior, 0.9, 6).save(Path("the first.pt"))
    experiment = tiny(
        rule="subspace", rule_options={"hidden_size": 4}, begin_with="the first.pt", freeze_rule=True, batch=5
    )
    assert "--rule" not in command_line(experiment)
    assert_reproduced(experiment)


def test_export_with_a_card(elsewhere: Path, run: Any) -> None:
    settings = {**TINY, "rule_options": {"hidden_size": 4}, "meta_steps": 2}
    one = Run.create(Path("run"), Experiment.create(**settings), [3, 4])
    for chain in one.chains:
        train(chain, lambda record: None, lambda: False)
    export = ("export", "run", "--seed", "4", "--out", "small.pt")
    refused(run(*export, "--limits", "none"), "--limits: expected --card")
    refused(run(*export, "--card"), "run: no summary.json; make it with: python cli.py fit --resume run")
    assert not Path("small.pt").exists()
    assert run("fit", "--resume", "run")[0] == 0
    code, out, err = run(*export, "--card", "--limits", "Never beyond 6 steps.")
    assert code == 0, err
    assert out.splitlines()[-1] == "small.md: the card"
    card, summary = Path("small.md").read_text(), json.loads(Path("run/summary.json").read_text())
    found = TrainedOptimizer.load(Path("small.pt"))
    assert found.posterior is not None
    assert f"{sum(w.numel() for w in found.rule.state_dict().values()):,} weights of the rule" in card
    assert f"{sum(w.numel() for w in found.posterior.state_dict().values()):,} of the halting posterior" in card
    assert f"{Path('small.pt').stat().st_size:,} bytes" in card
    (command,) = [line for line in card.splitlines() if line.startswith("python")]
    assert plain(parsed(command)) == plain(one.chains[1].experiment)
    (trained,) = [line for line in card.splitlines() if line.startswith("| lstm, trained")]
    cells = [f"{value:.4g}" for value in (summary["initial_loss"], *summary["loss_at"].values())]
    assert [cell.strip() for cell in trained.split("|")[2:-1]] == cells
    assert "Seed 4: 2 meta-steps of 4 problems" in card
    assert "over training seeds 3, 4" in card
    assert "rank correlation" in card
    assert "## Limits\n\nNever beyond 6 steps.\n\n## Licence\n\nApache-2.0\n" in card
    assert "to be written" in run(*export, "--card")[1]
    assert "To be written" in Path("small.md").read_text()


def test_a_card_names_the_trainings_that_came_before(elsewhere: Path, run: Any) -> None:
    settings = {**TINY, "rule_options": {"hidden_size": 4}, "meta_steps": 2}
    first = Run.create(Path("first"), Experiment.create(**settings), [3])
    train(first.chains[0], lambda record: None, lambda: False)
    assert run("fit", "--begin-with", "first", "--freeze-rule", "--meta-steps", "1", "--batch", "4", "--horizon", "6",
               "--validation-problems", "4", "--test-problems", "4", "--out", "second")[0] == 0  # fmt: skip
    code, _, err = run("export", "second", "--out", "both.pt", "--card")
    assert code == 0, err
    commands = [line for line in Path("both.md").read_text().splitlines() if line.startswith("python")]
    assert plain(parsed(commands[0])) == plain(first.chains[0].experiment)
    assert "--begin-with first" in commands[1]
