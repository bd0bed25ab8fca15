"""Numbers out of range are refused in one line that names the option, whatever part it is an option of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probact import FAMILIES, HALTING_PRIORS, HORIZON_PRIORS, RULES, STOP_RULES, StopRule
from probact.support.registry import Registry
from tests.helpers.commands import ARGUMENTS, call, refused

pytestmark = pytest.mark.usefixtures("undrawn")


def numeric_options() -> list[tuple[Registry[Any], str, str]]:
    found = []
    for registry in (FAMILIES, RULES, HORIZON_PRIORS, HALTING_PRIORS, STOP_RULES):
        for name in registry:
            for option, default in registry.keywords(name).items():
                first = default[0] if isinstance(default, tuple) else default
                if isinstance(first, int | float) and not isinstance(first, bool):
                    found.append((registry, name, option))
    return found


@pytest.mark.parametrize(("registry", "name", "option"), numeric_options())
def test_every_numeric_option_of_a_part_has_a_range(registry: Registry[Any], name: str, option: str) -> None:
    whole = not isinstance(registry.keywords(name)[option], float)
    for text in ("-1", "nan", "inf", "-inf", "10" * 12 if whole else "1e400", "x"):
        with pytest.raises(ValueError, match=option) as found:
            registry.build(name, {option: text})
        assert name in str(found.value)
        assert len(str(found.value)) < 200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--family-option", "dim=0"), ("dim", ">= 1", "0")),
        (("--family-option", "dim=-2"), ("dim", ">= 1", "-2")),
        (("--family-option", "dim=1e9"), ("dim", "int", "1e9")),
        (("--family-option", "dim=1000000000"), ("dim", "< 1e+06")),
        (("--family-option", "dim=900000"), ("family 'quadratic': sample", "memory")),
        (("--family-option", "scale=-1"), ("scale", "> 0", "-1")),
        (("--family-option", "scale=1e30"), ("family 'quadratic': nll", "finite loss at theta_0")),
        (("--family", "digits", "--family-option", "hidden=5,0"), ("family 'digits'", "hidden", "0")),
        (("--rule-option", "num_layers=1000000000000"), ("num_layers", "< 10000")),
        (("--rule", "adam", "--rule-option", "lr=-0"), ("lr", "> 0", "-0.0")),
        (("--lr", "1e300"), ("--lr", "> 0, and smaller than 1e+30", "1e+300")),
        (("--kl-scale", "1e38"), ("--kl-scale", "smaller than 1e+30")),
        (("--seed", str(2**63)), ("--seed", "smaller than", str(2**63))),
        (("--clip", "-0"), ("--clip", "> 0")),
    ],
)
def test_out_of_range_on_the_command_line(
    words: tuple[str, ...], said: tuple[str, ...], capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    refused(call(capsys, monkeypatch, "fit", *ARGUMENTS, *words, "--out", str(run)), *said)
    assert not run.exists()


@pytest.mark.parametrize("given", ["--cost=nan", "--cost=inf", "--cost=-0", "--num-optimizees=1", "--seed=-1"])
def test_of_another_command(given: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("evaluate", "subspace-mlp", "--family", "quadratic", given)
    refused(call(capsys, monkeypatch, *words), given.partition("=")[0])


def test_more_than_there_is_memory_for(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ("fit", *ARGUMENTS, "--batch", str(10**15), "--out", str(tmp_path / "run"))
    code, _, err = call(capsys, monkeypatch, *words)
    assert code == 2
    assert err.splitlines()[-1].startswith("Error: not enough memory: ")


def test_an_option_without_a_type_is_none() -> None:
    with pytest.raises(ValueError, match="stop rule 'patience' has no option 'threshold': choose from epsilon"):
        StopRule.read("patience=4,threshold=3")
