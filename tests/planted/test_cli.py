"""Commands that hide a mistake, planted."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from probact.cli.halt_stats import halt_stats
from tests.helpers.commands import refused


def swallows(command: Callable[..., None], **given: Any) -> None:
    """The error is told on the screen, and the shell hears of success."""
    try:
        command(**given)
    except ValueError as error:
        click.echo(f"Error: {error}", err=True)


def explains_at_length(command: Callable[..., None], **given: Any) -> None:
    """The right exit code after a traceback."""
    try:
        command(**given)
    except ValueError:
        traceback.print_exc()
        raise


def blames_itself(command: Callable[..., None], **given: Any) -> None:
    """Exit code 2 and one line, which does not say what is wrong."""
    try:
        command(**given)
    except ValueError:
        raise ValueError("something went wrong") from None


@pytest.mark.parametrize("faulty", [swallows, explains_at_length, blames_itself])
def test_a_mistake_that_is_hidden(faulty: Any, elsewhere: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run("halt-stats", "nowhere"), "nowhere", "no run there")
    sound = halt_stats.callback
    assert sound is not None
    monkeypatch.setattr(halt_stats, "callback", lambda **given: faulty(sound, **given))
    with pytest.raises(AssertionError):
        refused(run("halt-stats", "nowhere"), "nowhere", "no run there")
