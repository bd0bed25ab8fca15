"""The groups of tasks of ``unseen.py`` by their names."""

from unseen_raw import RAW
from unseen_tasks import GROUPS as SCALED

GROUPS = {**SCALED, "raw": RAW}
