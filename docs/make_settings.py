"""Write the table of settings and the JSON schema of ``experiment.json``, both from the fields of ``Experiment``.

python docs/make_settings.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from probact.runs.experiment import SETTINGS, Experiment

HEAD = """# Settings

Made by `python docs/make_settings.py`; not to be edited. A family may recommend other defaults: `list` shows them.
`experiment.json` has the same settings ([schema](experiment.schema.json)).

| option of `fit` | TOML key | in `experiment.json` and Python | value | default | what it is |
|---|---|---|---|---|---|
"""


def row(name: str) -> str:
    """The line of one setting."""
    setting = SETTINGS[name]
    options = setting.options_of(name)
    values = ", ".join(f"`{choice}`" for choice in setting.choices) if setting.choices else setting.expected
    cells = [
        ", ".join(f"`{option}`" for option in options),
        f"`{options[0].removeprefix('--')}`",
        f"`{name}`",
        values + (", or a list of them" if setting.several else ""),
        f"`{setting.default_text}`" if setting.default_text else "",
        setting.help,
    ]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"


def main(folder: Path) -> None:
    """Write both files into ``folder``."""
    (folder / "settings.md").write_text(HEAD + "".join(map(row, SETTINGS)))
    (folder / "experiment.schema.json").write_text(json.dumps(Experiment.schema(), indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
