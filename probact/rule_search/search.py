"""The search: rules are proposed, tried and learned from, ten at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from probact.monitoring.monitor import HaltingMonitor
from probact.rule_search.child import Child, Tried
from probact.rule_search.controllers.base import CONTROLLERS, Scored
from probact.rule_search.halting import HALTINGS
from probact.rule_search.programs import tree_of
from probact.rule_search.settings import Record, Settings
from probact.rules.expressions.parser import canonical, written
from probact.support.files import write_atomically
from probact.support.tensor_files import load_tensors, save_tensors

BATCH = 10
SAVE_EVERY = 20
"""Batches between two checkpoints."""


def utility(reward: float) -> float:
    """-log of what is missing, so that .95 and .96 differ as .80 and .84 do; of a loss -log of it.

    :param reward: an accuracy, or minus a loss.
    """
    return -math.log(0.01 + (1 - reward if reward >= 0 else -reward))


class Search:
    """A search in progress.

    :param known: records of the rules so far, where it goes on.
    :ivar records: one a rule, in order.
    """

    def __init__(self, settings: Settings, known: Sequence[Record] = ()) -> None:
        self.settings = settings
        self.child = Child(settings.child, settings.reward, settings.seed)
        self.controller = CONTROLLERS[settings.controller](settings.depth, settings.seed, settings.rules)
        self.halting = HALTINGS.build(settings.halting)
        self.records = list(known)
        self._found = {record.rule: record for record in known}
        self._monitor = HaltingMonitor(settings.price * BATCH, mode="max") if settings.price else None
        for start in range(0, len(known), BATCH):
            self._watch(known[: start + BATCH])

    @property
    def best(self) -> Record:
        """Of the highest reward, of equal ones that of the smallest loss."""
        return max(self.records, key=lambda record: (record.reward, -record.loss))

    @property
    def has_paid(self) -> bool:
        """Whether another ten rules are not expected to be worth their price."""
        return self._monitor is not None and bool(self._monitor.should_stop())

    def run(self) -> Iterator[list[Record]]:
        """Batch by batch, until there are enough rules or the search stops by itself."""
        while len(self.records) < self.settings.rules and not self.has_paid:
            yield self._batch(min(BATCH, self.settings.rules - len(self.records)))

    def _batch(self, num: int) -> list[Record]:
        programs = self.controller.propose(num)
        trees = [canonical(tree_of(program)) for program in programs]
        rules = [written(tree) for tree in trees]
        fresh = {rule: tree for rule, tree in zip(rules, trees, strict=True) if rule not in self._found}
        begun = time.monotonic()
        tried = dict(zip(fresh, self.child.try_out(list(fresh.values()), self.halting) if fresh else (), strict=True))
        seconds = (time.monotonic() - begun) / max(len(fresh), 1)
        made: list[Record] = []
        for rule, program in zip(rules, programs, strict=True):
            made.append(self._record(rule, program, tried.get(rule), seconds))
            self._found.setdefault(rule, made[-1])
        self.controller.learn([Scored(one.program, utility(one.reward), one.is_new) for one in made])
        self.records += made
        self._watch(self.records)
        return made

    def _record(self, rule: str, program: tuple[int, ...], tried: Tried | None, seconds: float) -> Record:
        if rule in self._found or tried is None:
            return self._found[rule]._replace(program=program, seconds=0.0, is_new=False)
        found = (tried.reward, tried.loss, tried.accuracy, tried.rate, tried.stopped_at)
        return Record(rule, program, *found, seconds=seconds, is_new=True)

    def _watch(self, records: Sequence[Record]) -> None:
        """A look at the best of ``records``, all so far: a worse batch is no news."""
        if self._monitor is not None and not self.has_paid:
            self._monitor.update(max(record.reward for record in records))

    def save(self, folder: Path) -> None:
        """Where it stands."""
        content: dict[str, Any] = {"controller": self.controller.to_state(), "halting": self.halting.to_state()}
        save_tensors(folder / "controller.pt", {**content, "rules": len(self.records)})

    @classmethod
    def at(cls, settings: Settings, folder: Path) -> Search:
        """Where the search in ``folder`` was saved last; rules that it tried after that are tried again.

        :raises ValueError: if files are damaged or do not belong together.
        """
        path, records = folder / "controller.pt", Record.read(folder / "rules.jsonl")
        if not path.is_file():
            return cls(settings)
        content = load_tensors(path, "controller of a search")
        if content["rules"] > len(records):
            raise ValueError(f"{folder}/rules.jsonl: expected {content['rules']} rules, got {len(records)}")
        search = cls(settings, records[: content["rules"]])
        search.controller.load_state(content["controller"])
        search.halting.load_state(content["halting"])
        return search


def search_in(folder: Path, search: Search, asked: Sequence[int] = ()) -> Iterator[Search]:
    """Run ``search`` and keep it in ``folder``: the search after every batch.

    :param asked: fills when the user asks to stop; the batch under way is finished first.
    """
    path = folder / "rules.jsonl"
    write_atomically(path, "".join(record.line() for record in search.records))
    for number, made in enumerate(search.run(), 1):
        with path.open("a") as file:
            file.writelines(record.line() for record in made)
        if number % SAVE_EVERY == 0:
            search.save(folder)
        yield search
        if asked:
            break
    search.save(folder)
