"""Single flipped bits in each file of a run: refused in one line, or what is read is what was written."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr

from probact.judging.results import Evaluation
from probact.reports import posterior_file
from probact.reports.card import summary_of
from probact.reports.run_report import report
from probact.runs.run import Run
from probact.runs.trained import WEIGHTS, TrainedOptimizer, shipped
from probact.support.checksums import sealed, unsealed
from probact.support.missing import MissingError
from probact.support.tensor_files import load_tensors
from probact.training.loop import train
from tests.helpers.evaluations import full_evaluation
from tests.helpers.trainings import tiny

FLIPS = 300


def same(a: Any, b: Any) -> bool:
    """Whether two files say the same, whatever else one of them has."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and all(key in b and same(value, b[key]) for key, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, xr.DataTree):
        return a.identical(b)
    return bool(a == b) or (a != a and b != b)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run.create(tmp_path_factory.mktemp("rot") / "run", tiny(), [0])
    assert train(run.chains[0], lambda record: None, lambda: False)
    report(run)
    run.chains[0].trained().save(run.folder / "exported.pt")
    (run.folder / "evaluation.json").write_text(full_evaluation().to_json(indent=1))
    return run


READERS: dict[str, Callable[[Run, Path], Any]] = {
    "checkpoint.pt": lambda run, path: run.chains[0].state(),
    "exported.pt": lambda run, path: load_tensors(path, "probact optimizer"),
    "metrics.jsonl": lambda run, path: run.chains[0].records(),
    "posterior.nc": lambda run, path: posterior_file.load(path),
    "summary.json": lambda run, path: vars(summary_of(run)),
    "evaluation.json": lambda run, path: vars(Evaluation.from_json(path.read_text())),
}


def flipped(content: bytes, num: int) -> Iterator[bytes]:
    draw = random.Random(0)
    for _ in range(num):
        changed = bytearray(content)
        changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        yield bytes(changed)


@pytest.mark.parametrize("name", list(READERS))
def test_a_flipped_bit_is_refused_or_changes_nothing(name: str, run: Run) -> None:
    path = run.folder / name
    content, expected = path.read_bytes(), READERS[name](run, path)
    refused: list[ValueError] = []
    try:
        for changed in flipped(content, FLIPS):
            path.write_bytes(changed)
            try:
                found = READERS[name](run, path)
            except ValueError as error:
                refused.append(error)
            else:
                assert same(expected, found)
    finally:
        path.write_bytes(content)
    assert not any(isinstance(error, MissingError) or "\n" in str(error) for error in refused)
    assert len(refused) > 0.9 * FLIPS * (0.7 if path.suffix == ".json" else 1)  # spaces between words say nothing


def test_a_line_of_the_metrics_is_named(run: Run) -> None:
    """NULs, null, a list, another type, half a line: each in the middle; half a line at the end is a kill's."""
    metrics = run.chains[0].metrics
    whole = metrics.read_bytes()
    first, second, *others = whole.splitlines(keepends=True)
    try:
        for bad in (b"\0" * 40, b"null", b"[]", b"{}", second[:20], b"\xff\xfe", b'{"step": true}', b"7", b"",
                    second.rstrip().replace(b'"step": 2', b'"step": 3')):  # fmt: skip
            metrics.write_bytes(b"".join([first, bad + b"\n", *others]))
            for read in (run.chains[0].records, lambda: run.chains[0].cut_metrics(9)):
                with pytest.raises(ValueError, match=r"metrics\.jsonl: line 2: expected a record") as refused:
                    read()
                assert "\n" not in str(refused.value)
        metrics.write_bytes(whole + second[:30])
        assert [record["step"] for record in run.chains[0].records()] == [1, 2, 3, 4, 5, 6]
        run.chains[0].cut_metrics(9)
        assert metrics.read_bytes() == whole
    finally:
        metrics.write_bytes(whole)


def test_files_with_a_checksum_are_what_other_programs_expect(run: Run) -> None:
    for path in (run.chains[0].checkpoint, run.folder / "exported.pt"):
        assert zipfile.ZipFile(path).testzip() is None
        assert torch.load(path, weights_only=True)["format"].startswith("probact")
    with xr.open_datatree(run.posterior, engine="h5netcdf") as tree:
        assert tree.identical(posterior_file.load(run.posterior))


@pytest.mark.parametrize("name", shipped())
def test_shipped_optimizers_carry_a_checksum(name: str, tmp_path: Path) -> None:
    content = (WEIGHTS / f"{name}.pt").read_bytes()
    assert sealed(unsealed(content)) == content
    assert len(content) < 120_000
    (tmp_path / "rotten.pt").write_bytes(content.replace(b"\x3f", b"\x3e", 1))
    with pytest.raises(ValueError, match=r"rotten\.pt: not a probact optimizer, or a damaged one \(its checksum"):
        TrainedOptimizer.load(tmp_path / "rotten.pt")
