"""Print what the changelog says of the newest version: the notes of a release.

python .ci/notes.py
"""

from __future__ import annotations

import re
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def released(text: str) -> list[tuple[str, str, str]]:
    """``(version, date, notes)`` of each version, the newest first; what is unreleased is left out.

    :param text: a changelog as keepachangelog.com has it, ``## [1.2.3] - 2026-11-26``.
    """
    body = re.sub(r"^\[[^]]+\]: \S+$", "", text, flags=re.MULTILINE)  # links of the headings
    sections = re.split(r"^## \[([^]]+)\](?: - (\S+))?$", body, flags=re.MULTILINE)[1:]
    found = zip(sections[::3], sections[1::3], sections[2::3], strict=True)
    return [(version, date, notes.strip()) for version, date, notes in found if version != "Unreleased"]


if __name__ == "__main__":
    print(released(CHANGELOG.read_text())[0][2])
