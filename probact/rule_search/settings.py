"""What a search is, and its folder.

::

    RUN/settings.json   what was asked for, and the words of the grammar
    RUN/rules.jsonl     one rule a line, in the order of the search
    RUN/controller.pt   the controller as it is after so many rules: to go on
    RUN/summary.json    the best rules on fresh networks
    RUN/figures/*.png
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from probact.rule_search.child import REWARDS
from probact.rule_search.controllers.base import CONTROLLERS
from probact.rule_search.halting import HALTINGS
from probact.rule_search.programs import DEEPEST
from probact.rules.expressions.grammar import BINARY, OPERANDS, UNARY
from probact.support.files import write_atomically
from probact.support.refusals import check_range

GRAMMAR = " ".join((*OPERANDS, "|", *UNARY, "|", *BINARY))


@dataclass(frozen=True)
class Settings:
    """:ivar rules: how many to try; those that were tried before count.

    :ivar price: of a rule, in units of the reward, at which the search stops by itself; 0: not.

    :raises ValueError: on a value that is not allowed.
    """

    controller: str = "lstm"
    rules: int = 1000
    depth: int = 2
    child: str = "digits"
    reward: str = "accuracy"
    seed: int = 0
    halting: str = "none"
    price: float = 0.0
    grammar: str = GRAMMAR

    def __post_init__(self) -> None:
        check_range("search-rules", at_least=1, rules=self.rules)
        check_range("search-rules", at_least=1, below=DEEPEST + 1, depth=self.depth)
        check_range("search-rules", at_least=0, seed=self.seed, price=self.price)
        for registry, name in ((CONTROLLERS, self.controller), (HALTINGS, self.halting)):
            registry[name]
        if self.reward not in REWARDS:
            raise ValueError(f"search-rules: expected reward {' or '.join(REWARDS)}, got {self.reward!r}")

    def write(self, folder: Path) -> None:
        """To ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "settings.json", json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """:raises ValueError: if there is no search in ``folder``, or of other words."""
        path = folder / "settings.json"
        if not path.is_file():
            raise ValueError(f"{folder}: expected the folder of a search, with settings.json")
        try:
            found = json.loads(path.read_text())
            known = {field.name for field in fields(cls)}
            if set(found) != known:
                raise ValueError(f"expected {', '.join(sorted(known))}")
            settings = cls(**found)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not the settings of a search ({error})") from None
        if settings.grammar != GRAMMAR:
            raise ValueError(f"{path}: expected the grammar of this version, got a search of other words")
        return settings

    def going_on(self, asked: dict[str, Any]) -> Settings:
        """With another number of rules; all else has to be as it was.

        :param asked: what was given on the command line.
        :raises ValueError: if something else differs.
        """
        for name, value in asked.items():
            if name != "rules" and value != getattr(self, name):
                raise ValueError(f"--resume: expected {name} {getattr(self, name)}, as the search has it, got {value}")
        return replace(self, rules=asked.get("rules", self.rules))


class Record(NamedTuple):
    """A rule that was tried: a line of ``rules.jsonl``.

    :ivar rule: its formula in canonical form; :ivar program: as the controller wrote it.
    :ivar reward, loss, accuracy, rate, stopped_at: see ``Tried``.
    :ivar seconds: of its training, its share of those trained with it; 0 where it was known already.
    """

    rule: str
    program: tuple[int, ...]
    reward: float
    loss: float
    accuracy: float
    rate: float
    stopped_at: int
    seconds: float
    is_new: bool

    def line(self) -> str:
        return json.dumps(self._asdict()) + "\n"

    @classmethod
    def read(cls, path: Path) -> list[Record]:
        """All of a file; a last line that was cut off is left out.

        :raises ValueError: on any other line that is no record.
        """
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in lines if line.endswith("\n")]
        try:
            found = [json.loads(line) for line in whole]
            return [cls(**{**one, "program": tuple(one["program"])}) for one in found]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not the rules of a search ({error})") from None
