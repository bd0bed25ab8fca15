"""What ``fit`` makes of values of every kind, in a TOML file and on the command line; nothing is trained."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import pytest

from probact.cli import options
from probact.cli.fit import asked_for, fit
from probact.runs.experiment import SETTINGS
from tests.helpers.commands import NOT_SETTINGS

KINDS = {
    "int": "3",
    "float": "0.5",
    "a whole float": "8.0",
    "bool": "true",
    "str": '"3"',
    "list": "[1, 2]",
    "mixed list": '[1, "a", {b = 1}]',
    "table": "{ a = 1 }",
    "table of tables": "{ a = { b = 1 } }",
    "table with a date": "{ a = 2020-01-01 }",
    "date": "2020-01-01T00:00:00Z",
    "time": "07:32:00",
    "nan": "nan",
    "inf": "inf",
    "huge": "1e400",
    "huge int": "0x" + "f" * 400,
    "negative": "-1",
    "negative float": "-0.0",
    "empty str": '""',
    "empty list": "[]",
}
KEYS = [option.opts[0].removeprefix("--") for option in fit.params if option.name not in ("config", "resume")]
TAKES: dict[str, set[str]] = {
    "boolean": {"bool"},
    "integer": {"int"},
    "number": {"int", "float", "a whole float", "negative float"},
    "string": {"str", "empty str"},
    "object": {"table"},
}
"""The kinds that a setting may take, if limits and choices allow it; one with several takes lists too."""


@pytest.fixture(autouse=True)
def _no_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "data_directory_is", lambda path: nullcontext())


def read(*arguments: str) -> dict[str, Any]:
    """The parameters that the command would be called with, and their experiment made."""
    params: dict[str, Any] = fit.make_context("fit", list(arguments)).params
    asked_for({name: value for name, value in params.items() if name not in NOT_SETTINGS})
    return params


def complaint(*arguments: str) -> str | None:
    """The line that ``main`` would print before it ends with code 2, or None; any other error is a traceback."""
    try:
        read(*arguments)
    except (click.ClickException, ValueError) as error:
        return error.format_message() if isinstance(error, click.ClickException) else str(error)
    return None


@pytest.mark.parametrize("key", KEYS)
def test_every_kind_of_value_in_a_file_is_taken_or_refused_in_a_line(key: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    setting = next((declared for name, declared in SETTINGS.items() if f"--{key}" in declared.options_of(name)), None)
    for kind, text in KINDS.items():
        config.write_text(f"{key} = {text}\n")
        line = complaint("--config", str(config))
        if line is not None:
            assert "\n" not in line
            assert key in line or line.startswith("3: no run there"), (kind, line)
        elif setting is not None:
            allowed = TAKES[setting.json_type] | ({"list", "empty list"} if setting.several else set())
            assert kind in allowed, f"{kind} was taken"


def test_a_whole_number_is_not_rounded_and_a_text_not_read(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    for text in ("horizon = 8.7", "horizon = 8.0", "batch = true", 'batch = "4"', "jobs = 1.5", "chains = true"):
        config.write_text(text)
        line = complaint("--config", str(config))
        assert line is not None
        assert "expected a whole number >= 1, got " in line
    config.write_text("lr = 1\nkl-warmup = 3\nthrough_path = true\nseed = [3, 4]\n[rule-option]\nhidden-size = 5\n")
    params = read("--config", str(config), "--kl-warmup", "4")
    assert (params["lr"], params["kl_warmup"], params["through_path"], params["seeds"]) == (1.0, 4, True, (3, 4))
    assert params["rule_options"] == {"hidden_size": "5"}
    assert params["batch"] is None


def test_a_file_that_an_editor_on_windows_wrote(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_bytes(b"\xef\xbb\xbfprior-nu = 0.9\r\nclip = 2.0\r\n")
    assert read("--config", str(config))["prior_nu"] == 0.9


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.kind in (int, float)])
def test_numbers_out_of_range_on_the_command_line(name: str) -> None:
    (option,) = SETTINGS[name].options_of(name)
    for text in ("-1", "nan", "inf", "1e400", "x", "", "1.5" if SETTINGS[name].kind is int else "-inf"):
        line = complaint(f"{option}={text}")
        assert line is not None, text
        assert option in line
        assert f"expected {SETTINGS[name].expected}" in line


def test_help_is_made_from_the_settings() -> None:
    with fit.make_context("fit", []) as context:
        shown = " ".join(fit.get_help(context).replace("-\n", "-").split())
    for name, setting in SETTINGS.items():
        assert all(option in shown for option in setting.options_of(name)), name
        assert setting.limits in shown
        if setting.default_text:
            assert f"default: {setting.default_text}]".replace("- ", "-") in shown.replace("- ", "-"), name
        if setting.choices:
            assert f"[{'|'.join(setting.choices)}]" in shown
