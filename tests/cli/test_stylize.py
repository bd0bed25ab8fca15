from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from probact.cli.stylize import RATES
from probact.problems.style.features import NETWORKS
from probact.runs.run import Run
from tests.helpers.commands import refused
from tests.helpers.pictures import draw, folder_of


@pytest.fixture
def two(elsewhere: Path) -> tuple[str, str]:
    """A content image of 48 x 40 pixels, and a style image."""
    return str(draw(elsewhere / "content.png", seed=1)), str(draw(elsewhere / "style.png", seed=2))


FAST = ("--features", "random", "--size", "32", "--steps", "6")


def test_a_picture_is_painted(two: tuple[str, str], run: Any) -> None:
    code, out, err = run("stylize", *two, *FAST, "--out", "sub/out.png")
    assert (code, err) == (0, "")
    assert "content.png: 48 x 40 pixels, taken as 40 x 32" in out
    with Image.open("sub/out.png") as painted, Image.open(two[0]) as content:
        assert painted.size == (40, 32)
        assert painted.mode == "RGB"
        assert not np.array_equal(np.array(painted), np.array(content.resize((40, 32))))
    line = out.splitlines()[-1]
    assert line.startswith("sub/out.png: 6 of 6 steps, made all steps; loss ")
    begun, ended = (float(text.split()[0]) for text in line.partition("loss ")[2].split(" -> "))
    assert ended < begun


def test_again_needs_force(two: tuple[str, str], run: Any) -> None:
    line = ("stylize", *two, *FAST, "--out", "out.png")
    assert run(*line)[0] == 0
    before = Path("out.png").read_bytes()
    refused(run(*line), "out.png", "--force")
    assert Path("out.png").read_bytes() == before
    assert run(*line, "--optimizer", "lbfgs", "--force")[0] == 0
    assert Path("out.png").read_bytes() != before


def test_grey_and_alpha_are_said(elsewhere: Path, run: Any) -> None:
    grey, clear = draw(elsewhere / "grey.png", "L"), draw(elsewhere / "clear.png", "RGBA", seed=3)
    _, out, _ = run("stylize", str(grey), str(clear), *FAST, "--out", "out.jpg")
    assert "taken as 40 x 32, grey: made three equal colours" in out
    assert "taken as 40 x 32, alpha: put on white" in out
    with Image.open("out.jpg") as painted:
        assert painted.format == "JPEG"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--size", "24"), "--size: expected size >= 32"),
        (("--size", "36"), "a multiple of 8, got 36"),
        (("--features", "vgg19"), "choose from random, lite0"),
        (("--optimizer", "nobody"), "no run there"),
        (("--optimizer", "subspace-mlp", "--rate", ".1"), "--rate: expected a rule with a rate"),
        (("--price", "0"), "--price"),
        (("--steps", "0"), "--steps"),
        (("--out", "out.txt"), "ends in .png"),
        (("--out", "out"), "ends in .png"),
        (("--out", "folder.png"), "got a folder"),
        (("--out", "content.png/out.png"), "content.png/out.png"),
        (("--optimizer", "sgd", "--rate", "1e9"), "a smaller --rate"),
    ],
)
def test_refusals(given: tuple[str, ...], words: str, two: tuple[str, str], run: Any) -> None:
    Path("folder.png").mkdir()
    refused(run("stylize", *two, *FAST, "--out", "out.png", *given), words)
    assert not Path("out.png").exists()


def test_pictures_that_are_none(two: tuple[str, str], run: Any) -> None:
    Path("text.png").write_text("no picture")
    draw(Path("small.png"), width=40, height=20)
    for name, words in (
        ("text.png", "expected an image"),
        ("small.png", "at least 32 pixels, got 40 x 20"),
        ("none.png", "No such file"),
        (".", "got a folder"),
    ):
        refused(run("stylize", name, two[1], *FAST, "--out", "out.png"), words)
        refused(run("stylize", two[0], name, *FAST, "--out", "out.png"), words)


def test_rates_are_those_of_networks() -> None:
    assert set(RATES) == set(NETWORKS)


@pytest.fixture
def fit(elsewhere: Path) -> tuple[str, ...]:
    """Five meta-steps on small pictures."""
    content, style = folder_of(elsewhere / "content"), draw(elsewhere / "style.png", seed=9)
    options = {"content": content, "style": style, "size": 32}
    given = [word for key, value in options.items() for word in ("--family-option", f"{key}={value}")]
    sizes = {"horizon": 6, "horizon-from": 3, "batch": 2, "meta-steps": 5, "validate-every": 2}
    sizes |= {"validation-problems": 2, "test-problems": 3}
    return "fit", "--family", "style", *given, *(str(word) for key in sizes for word in (f"--{key}", sizes[key]))


def test_training_resume_and_a_learned_stop(fit: tuple[str, ...], two: tuple[str, str], run: Any) -> None:
    """``--recompute`` changes no weight; a run that was cut off goes on to the same ones; its stop weighs the price."""
    code, out, err = run(*fit, "--out", "whole")
    assert code == 0, err
    code, _, err = run(*fit, "--recompute", "--out", "again")
    assert code == 0, err
    whole, again = (Run.open(Path(name)).best().trained() for name in ("whole", "again"))
    for name, weight in whole.rule.state_dict().items():
        torch.testing.assert_close(again.rule.state_dict()[name], weight, rtol=1e-3, atol=1e-5)
    assert "is finished: nothing was changed" in run("fit", "--resume", "whole")[1]
    line = ("stylize", *two, *FAST, "--optimizer", "whole", "--force", "--out", "out.png")
    steps = [int(run(*line, "--price", price)[1].rpartition(": ")[2].split()[0]) for price in ("1e-6", "1e6")]
    assert all(1 <= step <= 6 for step in steps)
    code, out, err = run("export", "whole", "--out", "o.pt", "--stop", "budget=2")
    assert code == 0, err
    code, out, err = run(*line[:3], *FAST, "--optimizer", "o.pt", "--force", "--out", "out.png")
    assert "2 of 6 steps, stopped by 2 steps" in out


def test_evaluation_on_another_style(fit: tuple[str, ...], run: Any) -> None:
    assert run(*fit, "--out", "whole")[0] == 0
    draw(Path("other.png"), seed=20)
    options = ("style=other.png", "content=content", "size=32")
    given = [word for option in options for word in ("--family-option", option)]
    code, out, err = run(
        "evaluate", "whole", "--family", "style", *given, "--baselines", "none", "--num-optimizees", "3", "--at", "1,6"
    )
    assert code == 0, err
    assert "style other.png" in out
    code, out, err = run("halt-stats", "whole", "--num-optimizees", "3")
    assert code == 0, err
    assert run("plot", "whole")[0] == 0
