"""The commands and what they do, in a line each: a command is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "fit": ("--prior-nu 0.95", "meta-train an optimizer with a latent halting step"),
    "halt-stats": ("", "what its halting posterior looks like beside the prior"),
    "evaluate": ("", "judge it against tuned baselines, and every way to stop"),
    "compare": ("RUN RUN", "runs side by side on the same problems"),
    "sweep": ("--prior-nu .8,.9", "a grid of settings, several seeds each"),
    "export": ("--out FILE", "one file for probact.LearnedOptimizer.from_pretrained"),
    "report": ("", "a run as one HTML page, to look through"),
    "plot": ("", "redraw the figures of a run"),
    "prior": ("--prior-nu 0.95", "the prior alone"),
    "list": ("", "families, rules, halting posteriors, objectives, priors, stop rules, controllers, ..."),
    "curves": ("", "real training curves: make them, train a HaltingMonitor's head on them"),
    "stylize": ("CONTENT STYLE", "one picture in the style of another, with a learned stop"),
    "search-rules": ("", "let a controller write update rules, and try them on small networks"),
}
"""Name -> how a first call of it goes on, and what it does.  The module is called like it."""


class Commands(click.Group):
    """A group that shows its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        word = cmd_name.replace("-", "_")
        found = vars(import_module(f"probact.cli.{word}"))
        command: click.Command = found.get(f"{word}_") or found[word]  # list_: list is Python's
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(f"{name} {words}".strip(), does) for name, (words, does) in COMMANDS.items()])
