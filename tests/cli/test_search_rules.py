"""``search-rules``, and what it finds in the other commands."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path

import pytest
import torch

import probact
from probact.rule_search import ranking
from probact.rule_search.search import Search
from probact.rule_search.settings import Record
from tests.helpers.commands import ARGUMENTS, call, refused


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ranking, "REFERENCES", ("adam",))
    monkeypatch.setattr(ranking, "FRESH", 1)
    monkeypatch.setattr(ranking, "TOP", 2)


def test_a_search_from_the_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = call(
        capsys, monkeypatch, "search-rules", "--controller", "random", "--rules", "2", "--out", "mine"
    )
    assert code == 0, err
    assert "2 rules" in out
    assert "adam  (known)" in out
    folder = Path("mine")
    records = Record.read(folder / "rules.jsonl")
    assert len(records) == 2
    assert json.loads((folder / "summary.json").read_text())["rules"] == 2
    assert (folder / "controller.pt").stat().st_size > 100
    assert (folder / "figures" / "rewards.png").read_bytes().startswith(b"\x89PNG")
    next_command = shlex.split(next(line for line in out.splitlines() if " fit " in line))
    assert any(word.startswith("expr=") for word in next_command)

    refused(call(capsys, monkeypatch, "search-rules", "--out", "mine"), "--resume")
    refused(call(capsys, monkeypatch, "search-rules", "--resume", "mine", "--depth", "3"), "expected depth 2")
    code, out, err = call(capsys, monkeypatch, "search-rules", "--resume", "mine", "--rules", "3")
    assert code == 0, err
    assert Record.read(folder / "rules.jsonl")[:2] == records


def test_evolution_says_how_it_begins(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("search-rules", "--controller", "evolution", "--rules", "4", "--out", "mine")
    code, _, err = call(capsys, monkeypatch, *words)
    assert code == 0, err
    assert "evolution: the first 2 rules are drawn at random" in err


def test_ctrl_c_saves(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Search.run

    def interrupted(self: Search) -> object:
        for made in whole(self):
            os.kill(os.getpid(), signal.SIGINT)
            yield made

    monkeypatch.setattr(Search, "run", interrupted)
    code, _, err = call(capsys, monkeypatch, "search-rules", "--controller", "random", "--rules", "20", "--out", "mine")
    assert code == 130, err
    assert "interrupted and saved; continue with" in err
    assert len(Record.read(Path("mine/rules.jsonl"))) == 10
    assert Path("mine/controller.pt").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--rules", "0"), "rules >= 1, got 0"), (("--depth", "4"), "depth >= 1 and < 4"), (("--depth", "0"), "got 0"),
     (("--controller", "tree"), "evolution, lstm, random"), (("--halting", "x"), "median"),
     (("--reward", "x"), "accuracy or loss"),
     (("--child", "quadratic"), "family of networks"), (("--child", "nothing"), "unknown family"),
     (("--child", "digits-autoencoder"), "no classifier"), (("--resume", "none"), "folder of a search"),
     (("--resume", "a", "--out", "b"), "got both"), (("--out", "/proc/mine"), "/proc/mine"),
     (("--price", "nan"), "price")],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(call(capsys, monkeypatch, "search-rules", "--controller", "random", *words), said)


@pytest.mark.parametrize(
    ("expr", "said"), [("foo", "unknown word"), ("exp(g, m)", "got 2"), ("", "empty text"), ("clip(g)", "1e-5")]
)
def test_fit_refuses_what_is_no_formula(
    expr: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(
        call(capsys, monkeypatch, "fit", "--prior-nu", "0.9", "--rule", "expression", "--rule-option", f"expr={expr}"),
        said,
    )


def fitted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--rule", "expression", "--rule-option", "expr=g * exp(sign(g) * sign(m))", "--rule-option", "lr=0.05")
    code, _, err = call(capsys, monkeypatch, "fit", *ARGUMENTS, *options, "--out", "mine")
    assert code == 0, err


@pytest.mark.slow
def test_a_formula_is_worn_as_an_optimizer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitted with a halting posterior, exported, read again."""
    fitted(capsys, monkeypatch)
    assert call(capsys, monkeypatch, "export", "mine", "--out", "mine.pt")[0] == 0
    theta = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = probact.LearnedOptimizer.from_pretrained([theta], "mine.pt")
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = (theta**2).sum()
        loss.backward()
        optimizer.step(loss=loss)
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_formula_is_judged(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(capsys, monkeypatch)
    words = ("evaluate", "mine", "--num-optimizees", "4", "--baselines", "sgd,expression")
    code, out, err = call(capsys, monkeypatch, *words)
    assert code == 0, err
    assert "expression" in out
