from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from probact.cli.stylize import RATES, _chosen
from probact.problems.style.features import NETWORKS
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.training.loop import train
from tests.helpers.commands import refused
from tests.helpers.pictures import draw, folder_of
from tests.helpers.trainings import same


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
def five(elsewhere: Path) -> Experiment:
    """Five meta-steps on small pictures."""
    content, style = folder_of(elsewhere / "content"), draw(elsewhere / "style.png", seed=9)
    options = {"content": [str(content)], "style": [str(style)], "size": 32}
    sizes = {"horizon": 6, "batch": 2, "meta_steps": 5, "validate_every": 2, "validation_problems": 2}
    return Experiment.create(family="style", family_options=options, test_problems=3, **sizes)


def trained(folder: str, experiment: Experiment, stop_at: int = 0) -> Run:
    """Until it has made ``stop_at`` meta-steps, or all."""
    run = Run.open(Path(folder)) if Path(folder).exists() else Run.create(Path(folder), experiment, (0,))
    records: list[Any] = []
    train(run.chains[0], records.append, lambda: len(records) == stop_at)
    return run


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.chains[0].load().state_dict()


def test_a_training_goes_on_where_it_was_cut_off(five: Experiment, run: Any) -> None:
    """To the same weights bit for bit, and with ``recompute`` to the same but for rounding."""
    whole, cut = weights(trained("whole", five)), trained("cut", five, stop_at=3)
    assert cut.chains[0].records()[-1]["step"] == 3
    assert same(weights(trained("cut", five)), whole)
    again = weights(trained("again", replace(five, recompute=True)))
    for name, weight in whole.items():
        torch.testing.assert_close(again[name], weight, rtol=1e-3, atol=1e-4)
    untrained = build_objective(five).state_dict()
    assert not same(untrained, whole)


def test_a_trained_stop_ends_it(five: Experiment, two: tuple[str, str], run: Any) -> None:
    trained("whole", replace(five, meta_steps=1))
    line = ("stylize", *two, *FAST, "--force", "--out", "out.png", "--optimizer")
    code, out, err = run(*line, "whole")
    assert code == 0, err
    assert "the run's own stop is tuned first" in out
    assert run("export", "whole", "--out", "o.pt", "--stop", "own")[0] == 0
    assert run(*line, "o.pt")[1].splitlines()[-1] == out.splitlines()[-1]
    assert run("export", "whole", "--out", "o.pt", "--stop", "budget=2")[0] == 0
    assert "has no learned stop that weighs it" in run(*line, "adam", "--price", "0.1")[1]
    assert "out.png: 2 of 6 steps, stopped by 2 steps; loss " in run(*line, "o.pt")[1]


def test_the_price_is_one_in_units_of_the_loss(five: Experiment, run: Any) -> None:
    """At twice the price a loss counts half as many nats, at the same price of a step in nats."""
    trained("whole", replace(five, meta_steps=1))
    scales = [_chosen("whole", "random", price, 6, None).scale for price in (0.002, 0.004)]
    assert scales[1] == pytest.approx(2 * scales[0])
    assert scales[0] * five.step_cost == pytest.approx(0.002)


@pytest.mark.slow
def test_all_commands_on_a_training(five: Experiment, run: Any) -> None:
    options = ("style=style.png", "content=content", "size=32")
    given = [word for option in options for word in ("--family-option", option)]
    sizes = {name: getattr(five, name) for name in ("horizon", "batch", "validate_every", "validation_problems")}
    sizes |= {"meta_steps": 5, "test_problems": 3}
    numbers = [word for name, size in sizes.items() for word in (f"--{name.replace('_', '-')}", str(size))]
    code, _, err = run("fit", "--family", "style", *given, *numbers, "--out", "whole")
    assert code == 0, err
    assert "is finished: nothing was changed" in run("fit", "--resume", "whole")[1]
    draw(Path("other.png"), seed=20)
    other = [*given[:1], "style=other.png", *given[2:]]
    code, out, err = run(
        "evaluate", "whole", "--family", "style", *other, "--num-optimizees", "3", "--at", "6", "--baselines", "adam"
    )
    assert code == 0, err
    assert "style other.png" in out
    for name in ("halt-stats", "plot"):
        code, _, err = run(name, "whole")
        assert code == 0, err
