"""``curves``: make, list, check, fit."""

import re
from pathlib import Path

import numpy as np
import pytest

from probact import HaltingMonitor
from probact.curves.corpus import Curves
from probact.curves.recipes import RECIPES
from tests.helpers.commands import refused
from tests.helpers.curves import Toy, drawn_curves, some_curves

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def toys(monkeypatch):
    """Two sets that are made in no time under real names."""
    for name in ("iris-mlp", "wine-mlp"):
        monkeypatch.setitem(RECIPES, name, ToyOf(name))


class ToyOf(Toy):
    held_out = False
    data_set = "iris"


def make(run, *more, folder="made"):
    return run("curves", "make", "iris-mlp", "wine-mlp", "--out", folder, "--count", "30", "--processes", "1", *more)


def test_curves_are_made_listed_and_checked(run, elsewhere, toys):
    code, out, _ = make(run)
    assert (code, out) == (0, "made: 2 files\n")
    assert Curves.load(elsewhere / "made" / "iris-mlp.npz").num == 30
    code, out, _ = run("curves", "list", "made")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [["iris-mlp", "30", "2-5"], ["wine-mlp", "30", "2-5"]]
    code, out, _ = run("curves", "check", "made")
    assert (code, out) == (0, "made: 2 files, 60 curves, all whole\n")


def test_what_can_be_made(run):
    code, out, _ = run("curves", "list")
    assert code == 0
    training, _, held_out = out.partition("held out")
    assert "  digits            Handwritten digits of 8 x 8 pixels (scikit-learn).\n" in training
    assert "with mlp, cnn, autoencoder\n" in training
    assert "  fashion-mnist " in held_out
    assert "  boosting          Gradient boosting, a look a round" in held_out


def test_without_a_command_it_helps(run):
    code, out, err = run("curves")
    assert (code, out) == (2, "")
    assert "curves [OPTIONS] COMMAND [ARGS]..." in err.splitlines()[0]
    assert "    curves check my-curves                   are the files whole?" in err.splitlines()


def test_curves_that_others_made_are_listed_checked_and_trained_on(run, elsewhere, toys):
    (elsewhere / "theirs").mkdir()
    falling("iris-mlp")._replace(settings=[{}] * 24).save(elsewhere / "theirs" / "iris-mlp.npz")
    code, out, err = run("curves", "list", "theirs")
    assert code == 0, err
    assert out.splitlines()[1].split()[::5] == ["iris-mlp", "-"]
    assert run("curves", "check", "theirs")[:2] == (0, "theirs: 1 file, 24 curves, all whole\n")
    assert run("curves", "fit", "theirs", "--out", "head.pt", "--updates", "1")[0] == 0
    code, _, err = make(run, folder="theirs")
    assert code == 2
    assert err.splitlines()[-1].endswith("iris-mlp.npz: expected 30 curves of seed 0, got 24 of seed none")


def test_a_damaged_file_ends_the_check(run, elsewhere):
    some_curves(name="iris-mlp").save(elsewhere / "iris-mlp.npz")
    data = bytearray((elsewhere / "iris-mlp.npz").read_bytes())
    data[200] ^= 1
    (elsewhere / "iris-mlp.npz").write_bytes(data)
    for command in ("check", "list"):
        refused(run("curves", command, "."), "iris-mlp.npz: not a file of training curves, or a damaged one")


def test_mistakes_are_one_line(run, elsewhere, toys):
    refused(run("curves", "make", "irs-mlp", "--out", "made"), "unknown set 'irs-mlp': choose from training, held-out")
    refused(run("curves", "check", "."), "expected files of training curves, NAME.npz, got none")
    make(run)
    code, _, err = make(run, "--seed", "1")
    assert code == 2
    assert err.splitlines()[-1].endswith("iris-mlp.npz: expected 30 curves of seed 1, got 30 of seed 0")


def test_data_are_looked_for_before_anything_is_made(run, elsewhere, monkeypatch):
    def none_there(name):
        raise ValueError(f"data set {name!r}: none")

    monkeypatch.setattr("probact.problems.data.sets.load", none_there)
    refused(
        run("curves", "make", "iris-mlp", "mnist-mlp", "--out", "made", "--processes", "1"), "data set 'mnist': none"
    )
    assert not (elsewhere / "made").exists()


def falling(name, num=24, looks=30):
    generator = np.random.default_rng(len(name))
    floor, pace = generator.uniform(0.2, 0.8, (num, 1)), generator.uniform(2, 15, (num, 1))
    loss = floor + (1 - floor) * np.exp(-np.arange(looks + 1) / pace)
    noisy = (loss + generator.normal(size=loss.shape) * 0.01).astype(np.float32)
    curves = some_curves(num, looks, name)
    whole = curves._replace(train=noisy.copy(), valid=noisy, test=loss.astype(np.float32), lengths=np.full(num, looks))
    whole.train[:, 0] = np.nan
    return whole


def test_a_head_is_trained_without_held_out_sets_and_a_monitor_reads_it(run, elsewhere):
    for name in ("iris-mlp", "wine-mlp", "my-own"):
        falling(name).save(elsewhere / f"{name}.npz")
    code, out, err = run("curves", "fit", ".", "--out", "head.pt", "--updates", "3")
    assert code == 0, err
    assert "left out, for judging: wine-mlp" in err
    assert "48 curves of 2 sets" in err
    assert 'head.pt: probact.HaltingMonitor(price=..., name="head.pt") reads it' in out
    monitor = HaltingMonitor(0.01, name="head.pt")
    monitor.update(1.0)
    assert 0 < monitor.halting_probability < 1


def test_curves_of_your_own_as_the_page_shows_them(run, elsewhere):
    page = (Path(__file__).parents[2] / "docs" / "curves.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "docs/curves.md", "exec"), {})
    code, out, err = run("curves", "list", ".")
    assert code == 0, err
    assert out.splitlines()[1].split() == ["my-data-mlp", "3", "2-4", "33%", "26%", "-"]
    drawn_curves("other", num=5, looks=12).save(elsewhere / "other.npz")
    for command in (
        ("curves", "check", "."),
        ("curves", "fit", ".", "--out", "head.pt", "--updates", "1"),
        ("evaluate", "--curves", ".", "--price", ".01"),
    ):
        code, _, err = run(*command)
        assert code == 0, err


def test_where_a_head_goes_is_looked_at_before_it_is_trained(run, elsewhere, monkeypatch):
    falling("my-own").save(elsewhere / "my-own.npz")
    fit = ("curves", "fit", ".", "--updates", "1", "--out")
    code, _, err = run(*fit, "no/such/folder/head.pt")
    assert code == 0, err
    assert (elsewhere / "no" / "such" / "folder" / "head.pt").exists()

    def trains(*_):
        raise AssertionError("it trains")

    monkeypatch.setattr("probact.training.on_curves.train_head", trains)
    refused(run(*fit, "my-own.npz/head.pt"), "Error: my-own.npz/head.pt: Not a directory")
    refused(run(*fit, f"{'long' * 63}.pt"), "File name too long")


def test_held_out_curves_alone_are_refused(run, elsewhere):
    falling("wine-mlp").save(elsewhere / "wine-mlp.npz")
    refused(
        run("curves", "fit", ".", "--out", "head.pt"), "expected curves to train on, got held-out ones alone: wine-mlp"
    )
