"""What a command would have made and did not find: the rooms name the thing, the command line adds the command."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Thing = Literal["run", "training", "report", "exported file"]


class MissingError(ValueError):
    """A thing that is not there.

    :ivar thing: what is missing.
    :ivar folder: of the run that it belongs to, or None where there is no run.
    """

    def __init__(self, message: str, thing: Thing, folder: Path | None = None) -> None:
        super().__init__(message)
        self.thing = thing
        self.folder = folder
