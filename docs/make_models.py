"""Write ``docs/models.md``, the page of the shipped weights, from their cards and files.

python docs/make_models.py [FOLDER]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

WEIGHTS = Path(__file__).resolve().parent.parent / "probact" / "weights"
HEAD = """# Shipped weights

Made by `python docs/make_models.py` from the cards of `probact/weights`; not to be edited. A card also says what the
weights reach beside tuned baselines. Which one to take: [In your PyTorch loop](drop-in.md), for `gp-` files
[Black-box search](black-box.md).

| name | what it is | weights of the rule | of halting | bytes | minutes of training on a CPU | licence |
|---|---|---|---|---|---|---|
"""
FOOT = """
They are inside the package: nothing is downloaded. Files hold tensors, numbers and text, with a checksum, and are read
without running code. One more file, `curves.pt`, is the head that a `HaltingMonitor` reads:
[its card](../probact/monitoring/heads/README.md).

A card of your own: `python cli.py export RUN --out mine.pt --card --limits "where it was not tried"`.
"""


class Card(NamedTuple):
    """What a card says.

    :ivar kind: the sentence that says what it is, without its full stop.
    :ivar rule, halting: numbers of weights, as written.
    :ivar commands: lines of the shell that trained it, in order.
    :ivar minutes: of all of them together.
    """

    name: str
    kind: str
    rule: str
    halting: str
    commands: list[str]
    minutes: float
    limits: str
    licence: str

    @classmethod
    def of(cls, text: str) -> Card:
        """:raises ValueError: if a part is missing."""
        sections = dict(re.findall(r"^## (.+?)\n+(.*?)(?=\n## |\Z)", text, re.DOTALL | re.MULTILINE))
        head = re.match(
            r"# (\S+)\n+An? (.+)\.\n([\d,]+) weights of the rule and ([\d,]+) of the halting posterior", text
        )
        if head is None or not {"Training", "Limits", "Licence"} <= sections.keys():
            raise ValueError(f"not a card that export --card wrote: {text[:60]!r}")
        training = sections["Training"]
        commands = [command.strip() for command in re.findall(r"```sh\n(.*?)```", training, re.DOTALL)]
        minutes = sum(map(float, re.findall(r"([\d.]+) minutes", training)))
        return cls(*head.groups(), commands, minutes, sections["Limits"].strip(), sections["Licence"].strip())


def row(card: Card, size: int) -> str:
    """The line of one file of ``size`` bytes."""
    link = f"[`{card.name}`](#{card.name})"
    cells = [link, card.kind, card.rule, card.halting, f"{size:,}", f"{card.minutes:.1f}", card.licence]
    return f"| {' | '.join(cells)} |\n"


def section(card: Card) -> str:
    """Limits and training of one file."""
    commands = "\n".join(card.commands)
    said = f"**Limits:** {card.limits}\n\nTrained by\n\n```sh\n{commands}\n```\n"
    return f"\n## {card.name}\n\n{said}\nIts whole card: [{card.name}.md](../probact/weights/{card.name}.md).\n"


def main(folder: Path) -> None:
    """Write the page into ``folder``."""
    files = sorted(WEIGHTS.glob("*.pt"))
    cards = [Card.of(path.with_suffix(".md").read_text()) for path in files]
    rows = [row(card, path.stat().st_size) for card, path in zip(cards, files, strict=True)]
    (folder / "models.md").write_text("".join([HEAD, *rows, FOOT, *map(section, cards)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
