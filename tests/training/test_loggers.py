"""What loggers leave behind, read by the tools that it is for."""

from __future__ import annotations

import csv
import json
import logging
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from probact.runs.run import Chain, Record, Run
from probact.support import extras
from probact.training.loggers import base
from probact.training.loggers.base import LOGGERS, Logger, check, choose, chosen, finish, measured
from probact.training.loop import train
from tests.helpers.trainings import same, tiny

INSTALLED = [name for name in ("csv", "tensorboard", "wandb-offline")
             if all(find_spec(module) for module in extras.EXTRAS.get(LOGGERS[name].extra, ()))]  # fmt: skip
each_logger = pytest.mark.parametrize("name", INSTALLED)


def run_in(folder: Path, *loggers: str, seeds: tuple[int, ...] = (0,), **settings: Any) -> Run:
    run = Run.create(folder, tiny(**settings), seeds)
    if loggers:
        choose(folder, loggers)
    return run


def trained(chain: Chain, until: int | None = None) -> None:
    """To its end, or up to the meta-step ``until``, after which it is saved."""
    seen: list[int] = []
    train(chain, lambda record: seen.append(record.step), lambda: bool(until and seen and seen[-1] >= until))


def scalars(chain: Chain) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reading.EventAccumulator(str(chain.folder / "log" / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"]}


def rows(chain: Chain) -> list[dict[str, str]]:
    with (chain.folder / "log" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def blocks_joined(content: bytes) -> Iterator[bytes]:
    """Records of a LevelDB log, which a ``.wandb`` file is: parts with checksum, length and kind, in 32 KiB blocks."""
    at, joined = 7, b""  # after the header
    while at + 7 <= len(content):
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        joined += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield joined
            joined = b""


def history(chain: Chain) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Of the one offline run: its rows, summary and settings, as ``wandb sync`` would send them."""
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    (path,) = (chain.folder / "log" / "wandb").glob("offline-run-*/*.wandb")
    lines, summary, settings = [], {}, {}
    for data in blocks_joined(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = record.history.item
            lines.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
        for item in record.summary.update:
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        for item in record.run.config.update:
            settings[item.key] = json.loads(item.value_json)
    return lines, summary, settings


def as_in_metrics(chain: Chain, name: str) -> bool:
    """Whether ``name`` holds the records of ``metrics.jsonl``, each once."""
    expected = {
        (record["step"], field): value for record in chain.records() for field, value in measured(record).items()
    }
    if name == "csv":
        found = {
            (int(row["step"]), field): float(value)
            for row in rows(chain) for field, value in row.items() if value and field != "step"
        }  # fmt: skip
        assert len(rows(chain)) == len(chain.records())
    elif name == "tensorboard":
        shown = {field: pairs for field, pairs in scalars(chain).items() if "/" not in field}
        assert all(len({step for step, _ in pairs}) == len(pairs) for pairs in shown.values())
        found = {(step, field): value for field, pairs in shown.items() for step, value in pairs}
    else:
        lines, _, _ = history(chain)
        found = {(line["_step"], field): line[field] for line in lines for field in line if not field.startswith("_")}
        assert len(lines) == len(chain.records())
    assert found.keys() == expected.keys()
    return all(math.isclose(found[key], expected[key], rel_tol=1e-6) for key in expected)


@each_logger
def test_it_holds_each_record_once_and_changes_no_weight(name: str, tmp_path: Path) -> None:
    plain, logged = run_in(tmp_path / "plain"), run_in(tmp_path / "logged", name)
    for run in (plain, logged):
        trained(run.chains[0])
    assert same(plain.chains[0].state()["weights"], logged.chains[0].state()["weights"])
    assert as_in_metrics(logged.chains[0], name)
    assert len(logged.chains[0].records()) == 6
    assert not (plain.folder / "log").exists()


@each_logger
def test_what_is_done_again_after_a_kill_stands_there_once(name: str, tmp_path: Path) -> None:
    """The records of meta-steps 3 and 4 were logged, but the checkpoint is of meta-step 2."""
    (chain,) = run_in(tmp_path / "run", name).chains
    trained(chain, until=2)
    checkpoint = chain.checkpoint.read_bytes()
    trained(chain, until=4)
    chain.checkpoint.write_bytes(checkpoint)
    trained(chain)
    assert [record["step"] for record in chain.records()] == [1, 2, 3, 4, 5, 6]
    assert as_in_metrics(chain, name)


@each_logger
def test_one_that_is_chosen_later_gets_all(name: str, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    trained(run.chains[0], until=3)
    choose(run.folder, [name])
    trained(run.chains[0])
    assert as_in_metrics(run.chains[0], name)


@each_logger
def test_every_chain_has_its_own(name: str, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", name, seeds=(3, 5))
    for chain in run.chains:
        trained(chain)
    assert [chain.folder.name for chain in run.chains] == ["seed-3", "seed-5"]
    assert all(as_in_metrics(chain, name) for chain in run.chains)


@pytest.fixture
def finished(tmp_path: Path) -> Chain:
    (chain,) = run_in(tmp_path / "run", *INSTALLED).chains
    trained(chain)
    finish(chain, {"num": 3, "J": 1.25, "lost": math.nan, "loss_at": {"6": 0.5}, "words": "none"})
    return chain


def test_the_summary_is_in_the_table(finished: Chain) -> None:
    with (finished.folder / "log" / "summary.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["name", "value"], ["num", "3.0"], ["J", "1.25"], ["loss_at/6", "0.5"]]
    assert as_in_metrics(finished, "csv")


def test_the_summary_and_the_settings_are_in_tensorboard(finished: Chain) -> None:
    shown = scalars(finished)
    assert {name: pairs[-1][1] for name, pairs in shown.items() if name.startswith("summary/")} == {
        "summary/num": 3.0, "summary/J": 1.25, "summary/loss_at/6": 0.5,
    }  # fmt: skip
    assert as_in_metrics(finished, "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    plugin = EventAccumulator(str(finished.folder / "log" / "tensorboard")).Reload().summary_metadata
    told = plugin[metadata.SESSION_START_INFO_TAG].plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(told).hparams
    assert settings["horizon"].number_value == 6
    assert settings["family"].string_value == "quadratic"


def test_the_summary_and_the_settings_are_in_wandb(finished: Chain) -> None:
    _, summary, settings = history(finished)
    assert (summary["num"], summary["J"], summary["loss_at/6"]) == (3.0, 1.25, 0.5)
    assert (settings["horizon"], settings["family"]) == (6, "quadratic")
    assert as_in_metrics(finished, "wandb-offline")


@pytest.fixture
def own() -> Iterator[list[Any]]:
    """A user's logger, registered as ``mine``; what it was told."""
    told: list[Any] = []

    class Mine(Logger):
        """Mine."""

        def write(self, step: int, numbers: base.Numbers) -> None:
            told.append((step, dict(numbers)))
            if step == 4:
                raise OSError("disk full")

    LOGGERS.register("mine")(Mine)
    yield told
    LOGGERS._parts.pop("mine")


def test_one_that_fails_is_left_out_and_the_training_goes_on(
    own: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (chain,) = run_in(tmp_path / "run", "mine", "csv").chains
    with caplog.at_level(logging.WARNING):
        trained(chain)
    assert [step for step, _ in own] == [1, 2, 3, 4]
    assert own[0][1] == measured(chain.records()[0])
    assert caplog.messages == ["log mine failed and is left out: OSError: disk full"]
    assert as_in_metrics(chain, "csv")


def test_what_is_no_number_is_not_measured() -> None:
    record = Record(3, 1.5, None, math.nan, 0.1, 1.0, 0, 0, math.inf)
    assert measured(record._asdict()) == {
        "loss": 1.5, "lr": 0.1, "anneal": 1.0, "skipped": 0, "diverged": 0, "updates": 0, "left_out": 0,
    }  # fmt: skip


def test_a_library_that_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "find_spec", lambda module: None)
    check(["csv"])
    for name, module in (("tensorboard", "tensorboard"), ("wandb-offline", "wandb")):
        with pytest.raises(ValueError, match=rf"--log {name}: {module} is not installed; get it with: .*\[{module}\]"):
            check([name])
    with pytest.raises(ValueError, match=r"unknown logger 'tensorbord': choose from .*tensorboard"):
        check(["tensorbord"])


def test_the_choice_is_kept_and_a_damaged_one_named(tmp_path: Path) -> None:
    assert chosen(tmp_path) == []
    choose(tmp_path, ["csv", "tensorboard", "csv"])
    assert chosen(tmp_path) == ["csv", "tensorboard"]
    (tmp_path / base.FILE).write_text("[1")
    with pytest.raises(ValueError, match=r"loggers\.json: expected the names of loggers"):
        chosen(tmp_path)


def test_the_gaps_of_validation_add_up(tmp_path: Path) -> None:
    (chain,) = run_in(tmp_path / "run").chains
    trained(chain)
    validated = [record for record in chain.records() if record["validation"] is not None]
    assert len(validated) == 3
    for record in validated:
        assert record["bound"] == pytest.approx(-record["validation"], rel=1e-4)
        gap = record["amortisation_gap"] + record["horizon_gap"]
        assert record["evidence"] - record["bound"] == pytest.approx(gap)
        assert min(record["amortisation_gap"], record["horizon_gap"]) > 0
    (without,) = run_in(tmp_path / "without", halting="none").chains
    trained(replace(without))
    assert {record["evidence"] for record in without.records()} == {None}
