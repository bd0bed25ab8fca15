"""``report`` on runs of a second: what it writes, and what it refuses in one line."""

from __future__ import annotations

import json
import shlex
import webbrowser
from html import escape
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import ARGUMENTS, call, refused

pytestmark = pytest.mark.usefixtures("undrawn")

TRAININGS = {
    "supervised": ARGUMENTS,
    "chains": [*ARGUMENTS, "--chains", "2"],
    "no halting": [*ARGUMENTS, "--halting", "none"],
    "search": ["--family", "gp-1d", *ARGUMENTS[2:]],
    "computation": ["--family", "parity", *ARGUMENTS[2:], "--family-option", "n=4", "--family-option", "nonzero=1:4"],
}


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    return lambda *words: call(capsys, monkeypatch, *words)


@pytest.mark.parametrize("kind", list(TRAININGS))
def test_every_kind_of_run(kind: str, run: Any) -> None:
    code, out, _ = run("fit", *TRAININGS[kind], "--out", "a run")
    assert code == 0
    advised = shlex.split(out.splitlines()[-1].partition("python cli.py ")[2])
    assert advised == ["report", "a run", "--open"]
    code, out, _ = run(*advised[:-1])
    assert code == 0
    assert out.startswith("written to a run/report.html: ")
    text = Path("a run/report.html").read_text()
    summary = json.loads(Path("a run/summary.json").read_text())
    assert escape(summary["stopping"]["verdict"], quote=False) in text
    assert summary["environment"]["torch"] in text
    assert "Few seeds" in text
    assert ("nats, which is 0.01 in the unit of the family's own values" in text) == (kind == "search")
    if kind == "chains":  # the command shown makes the same run
        assert_remade(text, run)


def assert_remade(text: str, run: Any) -> None:
    again = text.partition("What was asked")[2].partition("<code>")[2].partition("</code>")[0]
    assert run(*shlex.split(again)[2:], "--out", "again")[0] == 0
    settings = [json.loads(Path(folder, "experiment.json").read_text()) for folder in ("a run", "again")]
    assert settings[0] == settings[1]


def test_the_latest_run_and_several(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run("report"), "no run yet; make it with: python cli.py fit")
    for name in "ab":
        assert run("fit", *ARGUMENTS, "--seed", "1" if name == "b" else "0", "--out", name)[0] == 0
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: shown.append(address) or True)
    assert run("report", "--open")[0] == 0
    assert shown == [Path("b/report.html").resolve().as_uri()]
    assert "Run b:" in Path("b/report.html").read_text()
    before = {path: path.read_bytes() for path in Path("a").rglob("*") if path.is_file()}
    assert run("report", "a", "b", "--out", "pages/both.html")[0] == 0
    assert "2 runs side by side" in Path("pages/both.html").read_text()
    assert {path: path.read_bytes() for path in Path("a").rglob("*") if path.is_file()} == before


def test_an_unfinished_run_says_how_far_it_came(run: Any, fitted: Any) -> None:
    fitted("a", "--chains", "2")
    for name in ("summary.json", "posterior.nc"):
        Path("a", name).unlink()
    made = len(Path("a/seed-1/metrics.jsonl").read_text().splitlines())
    (code, _, err) = run("report", "a")
    assert (code, "training" in err) == (2, False)  # it is whole: the report alone is missing
    lines = Path("a/seed-1/metrics.jsonl").read_text().splitlines(keepends=True)
    Path("a/seed-1/metrics.jsonl").write_text("".join(lines[:-1]))
    said = f"Error: training stopped at {made - 1} of {made} meta-steps (seed 1): "
    for words in (("report", "a"), ("plot", "a"), ("compare", "a", "a2")):
        if words[-1] == "a2":
            fitted("a2")
        refused(answer := run(*words), "make it with: python cli.py fit --resume a")
        assert answer[2].startswith(said)
    Path("a/seed-1/metrics.jsonl").unlink()
    refused(run("report", "a"), f"training stopped at 0 of {made} meta-steps (seed 1): ")


def test_what_is_refused(run: Any, fitted: Any) -> None:
    fitted("a")
    refused(run("report", "nowhere"), "nowhere: no run there")
    refused(run("report", "."), ".: no run there", "runs in it: 1, such as a")
    refused(run("report", "a", "./a"), "expected different runs")
    refused(run("report", "a", "--out", "a"), "--out")
    refused(run("report", "a", "--out", "a/posterior.nc"), "expected a name that ends in .html, got a/posterior.nc")
    summary, posterior, metrics = Path("a/summary.json"), Path("a/posterior.nc"), Path("a/metrics.jsonl")
    kept = {path: path.read_bytes() for path in (summary, posterior, metrics)}
    for path, damage, words in (
        (summary, b"{}", "a/summary.json: expected Summary"),
        (posterior, kept[posterior][:1000], "a/posterior.nc: not a posterior file, or a damaged one"),
        (posterior, kept[posterior].replace(b"a", b"b", 1), "a/posterior.nc: not a posterior file, or a damaged one"),
        (metrics, b"x\n", "a/metrics.jsonl: line 1"),
    ):
        path.write_bytes(damage)
        refused(run("report", "a"), words)
        path.write_bytes(kept[path])
    for path in (summary, posterior):
        path.unlink()
        refused(run("report", "a"), path.name, "make it with: python cli.py fit --resume a")
        path.write_bytes(kept[path])
    assert run("report", "a")[0] == 0
