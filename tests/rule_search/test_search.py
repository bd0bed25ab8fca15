"""The search as a whole."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from probact.rule_search import ranking
from probact.rule_search.ranking import distinct, rank
from probact.rule_search.search import SAVE_EVERY, Search, search_in, utility
from probact.rule_search.settings import Record, Settings

NAMES = ("random", "lstm", "evolution")


def untimed(records: list[Record]) -> list[Record]:
    return [record._replace(seconds=0.0) for record in records]


def run(folder: Path, settings: Settings, asked_after: int = 10**9) -> Search:
    """From where it was saved; asked to stop after so many batches."""
    search, asked = Search.at(settings, folder), list[int]()
    for number, _ in enumerate(search_in(folder, search, asked), 1):
        if number == asked_after:
            asked.append(2)
    return search


@pytest.mark.parametrize("name", NAMES)
def test_interrupted_and_resumed_is_uninterrupted(name: str, tmp_path: Path, formulas: None) -> None:
    """The same rules, and the controller's weights bit for bit."""
    settings = Settings(controller=name, rules=60, halting="median", depth=1)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        settings.write(folder)
    run(whole, settings)
    run(parts, settings, 3)
    run(parts, settings)
    assert untimed(Record.read(whole / "rules.jsonl")) == untimed(Record.read(parts / "rules.jsonl"))
    one, other = (Search.at(settings, folder) for folder in (whole, parts))
    assert one.controller.propose(10) == other.controller.propose(10)
    if name == "lstm":
        pairs = zip(*(search.controller.to_state()["weights"].values() for search in (one, other)), strict=True)
        assert all(torch.equal(left, right) for left, right in pairs)


def test_a_killed_search_goes_on_from_its_checkpoint(tmp_path: Path, formulas: None) -> None:
    settings = Settings(controller="evolution", rules=10 * (SAVE_EVERY + 3))
    settings.write(tmp_path)
    for number, _ in enumerate(search_in(tmp_path, Search(settings)), 1):
        if number == SAVE_EVERY + 2:
            break  # what is written after the checkpoint is known to nobody
    with (tmp_path / "rules.jsonl").open("a") as file:
        file.write('{"rule": "g')
    other = tmp_path / "other"
    settings.write(other)
    assert untimed(run(tmp_path, settings).records) == untimed(run(other, settings).records)


def test_a_rule_is_trained_once(formulas: None) -> None:
    search = Search(Settings(controller="evolution", rules=300, depth=1))
    list(search.run())
    tried = search.child.tried  # type: ignore[attr-defined]
    assert len(tried) == len(set(tried)) == len({record.rule for record in search.records})
    again = [record for record in search.records if not record.is_new]
    assert again, "some rule came up twice"
    assert all(record.seconds == 0 for record in again)
    assert len(search.records) == 300


def test_learning_controllers_find_more_than_chance(formulas: None) -> None:
    means = {}
    for name in NAMES:
        search = Search(Settings(controller=name, rules=350, depth=1))
        list(search.run())
        means[name] = sum(record.reward for record in search.records[-100:]) / 100
    assert min(means["lstm"], means["evolution"]) > means["random"] + 0.15


def test_a_price_stops_the_search(formulas: None) -> None:
    cheap, dear = (Search(Settings(controller="random", rules=600, price=price)) for price in (1e-9, 0.01))
    for search in (cheap, dear):
        list(search.run())
    assert len(dear.records) < 200 < len(cheap.records)
    assert dear.has_paid
    again = Search(dear.settings, dear.records)
    assert again.has_paid, "replayed from its records"


def test_utility_grows_most_near_the_best() -> None:
    assert utility(0.96) - utility(0.95) > utility(0.86) - utility(0.85) > 0
    assert utility(-0.2) > utility(-0.3)
    assert utility(1.0) == pytest.approx(-math.log(0.01))


@pytest.mark.parametrize(
    ("given", "word"),
    [({"rules": 0}, "rules >= 1"), ({"depth": 4}, "depth >= 1 and < 4"), ({"controller": "x"}, "lstm"),
     ({"halting": "x"}, "median"), ({"reward": "x"}, "accuracy or loss"), ({"price": -1.0}, "price >= 0")],
)  # fmt: skip
def test_settings_are_checked(given: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Settings(**given)  # type: ignore[arg-type]


def test_a_search_of_other_words_or_settings_is_refused(tmp_path: Path) -> None:
    Settings().write(tmp_path)
    with pytest.raises(ValueError, match="expected depth 2"):
        Settings.read(tmp_path).going_on({"depth": 3, "rules": 9})
    assert Settings.read(tmp_path).going_on({"rules": 9}).rules == 9
    path = tmp_path / "settings.json"
    path.write_text(path.read_text().replace("momentum", "impulse"))
    with pytest.raises(ValueError, match="other words"):
        Settings.read(tmp_path)
    path.write_text(json.dumps({"rules": 3}))
    with pytest.raises(ValueError, match="not the settings"):
        Settings.read(tmp_path)
    with pytest.raises(ValueError, match="folder of a search"):
        Settings.read(tmp_path / "none")


def test_damaged_records_are_refused(tmp_path: Path, formulas: None) -> None:
    settings = Settings(controller="random", rules=30)
    settings.write(tmp_path)
    run(tmp_path, settings)
    path = tmp_path / "rules.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:20]))
    with pytest.raises(ValueError, match="expected 30 rules, got 20"):
        Search.at(settings, tmp_path)
    path.write_text("nothing\n" + "".join(lines))
    with pytest.raises(ValueError, match="not the rules"):
        Search.at(settings, tmp_path)


def test_the_best_are_ranked_anew_beside_known_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "REFERENCES", ("adam",))
    monkeypatch.setattr(ranking, "FRESH", 1)
    common = {"program": (0,), "loss": 0.5, "accuracy": 0.5, "rate": 0.1, "seconds": 0.0, "is_new": True}
    records = [
        Record(rule="-g", reward=0.99, stopped_at=0, **common),  # type: ignore[arg-type]
        Record(rule="momentum", reward=0.9, stopped_at=0, **common),  # type: ignore[arg-type]
        Record(rule="momentum", reward=0.9, stopped_at=0, **common),  # type: ignore[arg-type]
        Record(rule="g", reward=0.95, stopped_at=2, **common),  # type: ignore[arg-type]
    ]
    assert [one.rule for one in distinct(records, 3)] == ["-g", "momentum", "g"]
    ranked = rank(Settings(), records, 2)
    assert [one.rule for one in ranked][-1] == "-g", "the reward of the search does not count"
    assert {one.rule for one in ranked if one.is_reference} == {"adam"}
