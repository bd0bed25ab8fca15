from __future__ import annotations

import datetime
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from probact.rules.base import RULES, UpdateRule
from probact.runs.experiment import SETTINGS, Experiment
from probact.runs.run import Run
from probact.runs.settings import Setting
from probact.unrolling.walk import DEFAULT_UNROLLING
from tests.helpers.preloaded import script

ROOT = Path(__file__).parents[2]

VALUES: list[Any] = [
    None,
    True,
    1,
    8.0,
    8.7,
    -0.0,
    -1,
    "",
    "8",
    "no such",
    float("nan"),
    float("inf"),
    1e400,
    10**400,
    [],
    [1],
    {},
    {"a": 1},
    {"a": [1, "b"]},
    {1: 1},
    {"a": None},
    {"a": {"b": 1}},
    {"a": [[1]]},
    {"a": float("nan")},
    datetime.date(2020, 1, 1),
    Path("x"),
]
GOOD: dict[type, list[Any]] = {
    bool: [True],
    int: [1, -1],
    float: [8.0, 8.7, -0.0, 1, -1],
    str: ["8", "no such"],
    dict: [{}, {"a": 1}, {"a": [1, "b"]}],
}
"""What of ``VALUES`` is right for a setting without limits or choices."""


def test_every_setting_is_declared_and_explained() -> None:
    assert [entry.name for entry in fields(Experiment)] == list(SETTINGS)
    for name, setting in SETTINGS.items():
        assert setting.help.endswith("."), name
        assert setting.is_none(setting.default) or setting.check(setting.default) == setting.default
        assert getattr(Experiment(), name) == setting.default


@pytest.mark.parametrize("kind", GOOD)
def test_types_are_strict(kind: type) -> None:
    """Nothing is rounded, cut or read as something else, whatever the source; a whole number can be a number."""
    setting = Setting({bool: False, int: 0, float: 0.5, str: "x", dict: {}}[kind])
    for value in VALUES:
        if any(type(value) is type(good) and value == good for good in GOOD[kind]):
            kept = setting.check(value)
            assert kept == value
            assert type(kept) is kind
        else:
            with pytest.raises(ValueError, match=r"expected .*, got ") as error:
                setting.check(value)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", SETTINGS)
def test_wrong_values_are_one_line_that_names_the_setting(name: str) -> None:
    for value in (None, [1], datetime.date(2020, 1, 1), {1: 2}, float("nan"), -1e400, -0.5, 2.5):
        if isinstance(SETTINGS[name].default, float) and value == 2.5 and name != "prior_nu":
            continue
        for make in (Experiment, Experiment.create):
            with pytest.raises(ValueError, match=f"^{name}: expected .*, got ") as error:
                make(**{name: value})
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"horizon": 8.7}, "horizon: expected a whole number >= 1, got 8.7"),
        ({"horizon": 8.0}, "horizon: expected a whole number >= 1, got 8.0"),
        ({"horizon": 0}, "horizon: expected a whole number >= 1, got 0"),
        ({"batch": True}, "batch: expected a whole number >= 1, got True"),
        ({"lr": "0.1"}, "lr: expected a number > 0, got '0.1'"),
        ({"lr": -0.0}, "lr: expected a number > 0, got -0.0"),
        ({"prior_nu": 1}, "prior_nu: expected a number > 0 and < 1, got 1.0"),
        ({"gradient": "es"}, "gradient: expected one of backprop, pes, got 'es'"),
        ({"safeguard": 1}, "safeguard: expected true or false, got 1"),
        ({"device": ""}, "device: expected a text, got ''"),
        ({"rule_options": {"lr": None}}, "rule_options: expected a table of options, got {'lr': None}"),
        ({"family": ["regression"]}, "family: expected one of .*regression.*, got "),
        ({"cls": 1}, "unknown setting 'cls': choose from family, "),
    ],
)
def test_what_the_line_says(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Experiment.create(**given)
    with pytest.raises(ValueError, match=message):
        Experiment.from_json(json.dumps(given))


def test_whole_numbers_for_numbers_as_earlier_files_have_them() -> None:
    experiment = Experiment.from_json('{"kl_scale": 1, "clip": 2, "lr": 1}')
    assert (experiment.kl_scale, experiment.clip, experiment.lr) == (1.0, 2.0, 1.0)
    assert type(experiment.kl_scale) is float
    assert Experiment.from_json(experiment.to_json()) == experiment


@pytest.mark.parametrize("seed", [[1.5], [True], "12", [], 3, None, ["1"], [-1]])
def test_the_seeds_of_a_run_are_checked(seed: Any, tmp_path: Path) -> None:
    settings = {**json.loads(Experiment().to_json()), "seed": seed}
    (tmp_path / "experiment.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="seed: expected"):
        Run.open(tmp_path)
    (tmp_path / "experiment.json").write_text(json.dumps({**settings, "seed": [3, 4]}))
    assert Run.open(tmp_path).seeds == (3, 4)


def test_choices_are_asked_for_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that is registered later is a choice, in checks and schema."""
    monkeypatch.setitem(RULES._parts, "later", UpdateRule)
    assert Experiment(rule="later").rule == "later"
    assert "later" in Experiment.schema()["properties"]["rule"]["enum"]


def test_one_default_for_the_path() -> None:
    """That of what was trained and recorded: the path is cut."""
    assert Experiment().through_path is DEFAULT_UNROLLING.through_path is False


def test_the_committed_table_and_schema_are_the_settings(tmp_path: Path) -> None:
    """In a process of its own, where no test has registered anything."""
    script(ROOT, ROOT / "docs" / "make_settings.py", str(tmp_path)).output()
    for name in ("settings.md", "experiment.schema.json"):
        assert (tmp_path / name).read_text() == (ROOT / "docs" / name).read_text(), "run: python docs/make_settings.py"


def test_the_schema_takes_what_the_checks_take() -> None:
    schema = json.loads((ROOT / "docs" / "experiment.schema.json").read_text())
    assert list(schema["properties"]) == [entry.name for entry in fields(Experiment)]
    written = json.loads(Experiment.create(family="mnist").to_json())
    for name, value in {**written, "seed": [0, 1]}.items():
        assert fits(schema["properties"][name], value), name
    for name, value in {"horizon": 8.7, "batch": True, "lr": 0, "prior_nu": 1, "gradient": "es", "seed": []}.items():
        assert not fits(schema["properties"][name], value), name


TYPES: dict[str, Any] = {
    "boolean": bool,
    "integer": int,
    "number": int | float,
    "string": str,
    "array": list,
    "object": dict,
}


def fits(schema: dict[str, Any], value: Any) -> bool:
    """The part of JSON Schema that ours uses."""
    if "anyOf" in schema:
        return any(fits(part, value) for part in schema["anyOf"])
    names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if not any(isinstance(value, TYPES[name]) and (name == "boolean" or value is not True) for name in names):
        return False
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(fits(schema["items"], entry) for entry in value)
    if isinstance(value, dict):
        return all(fits(schema["additionalProperties"], entry) for entry in value.values())
    if isinstance(value, str):
        return value in schema.get("enum", [value]) and len(value) >= schema.get("minLength", 0)
    return (
        value >= schema.get("minimum", value)
        and value > schema.get("exclusiveMinimum", value - 1)
        and value < schema.get("exclusiveMaximum", value + 1)
    )
