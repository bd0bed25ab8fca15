"""A table for spreadsheets and pandas."""

from __future__ import annotations

import csv

from probact.runs.run import Record
from probact.training.loggers.base import LOGGERS, Logger, Numbers, Place


@LOGGERS.register("csv")
class Csv(Logger):
    """log/metrics.csv, a line a meta-step, and log/summary.csv; an empty cell where there is no number."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        (place.folder / "summary.csv").unlink(missing_ok=True)
        self._file = (place.folder / "metrics.csv").open("w", newline="", buffering=1)  # a line at a time
        self._table = csv.DictWriter(self._file, Record._fields)
        self._table.writeheader()

    def write(self, step: int, numbers: Numbers) -> None:
        self._table.writerow({"step": step, **numbers})

    def finish(self, summary: Numbers) -> None:
        with (self.place.folder / "summary.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("name", "value"), *summary.items()])

    def close(self) -> None:
        self._file.close()
