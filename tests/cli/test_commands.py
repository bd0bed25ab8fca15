from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import xarray as xr

from probact.cli.main import cli
from probact.inference.objectives.base import OBJECTIVES
from probact.inference.objectives.estimators import ESTIMATORS
from probact.inference.posteriors.base import NO_HALTING, POSTERIORS
from probact.problems.base import FAMILIES
from probact.problems.data.sets import VARIABLE
from probact.rule_search.controllers.base import CONTROLLERS
from probact.rule_search.halting import HALTINGS
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.runs.trained import shipped
from probact.stopping.base import STOP_RULES
from probact.training.loop import train
from tests.helpers.commands import ARGUMENTS, parsed, refused
from tests.helpers.preloaded import python
from tests.helpers.processes import CLI
from tests.helpers.trainings import TINY, tiny

pytestmark = pytest.mark.usefixtures("undrawn")

FIGURES = {
    "halting_heat_map.png",
    "halting_by_problem.png",
    "stop_and_regret.png",
    "gaps_and_calibration.png",
    "arviz_forest.png",
    "learning_curve.png",
}


@pytest.mark.drawn
def test_a_newcomers_path(elsewhere: Path, run: Any) -> None:
    code, out, err = run("fit", "--prior-nu", "0.9", *ARGUMENTS, "--out", "first")
    assert code == 0, err
    folder = elsewhere / "first"
    written = {path.name for path in folder.iterdir()}
    assert written >= {"experiment.json", "checkpoint.pt", "metrics.jsonl", "posterior.nc", "summary.json", "figures"}
    assert {path.name for path in (folder / "figures").iterdir()} == FIGURES
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary["loss_at"]) == list(summary["adam_loss_at"]) == ["1", "5", "6"]
    assert summary["seconds"] > 0
    assert set(summary["halting"]) == {"min", "max", "mean", "sd", "median"}
    assert "adam, tuned" in out
    assert "report: figures" in err
    for words in ("own stop: ", "best budget for all", "in hindsight", "The bound is"):
        assert words in out

    code, out, _ = run("halt-stats", "--num-optimizees", "20")  # the latest run
    assert code == 0
    assert "first" in out
    assert "E[t] = 1/(1 - nu) = 10" in out
    for words in ("rank correlation", "amortisation gap", "horizon gap", "log p(x)", "ELBO", "best budget for all"):
        assert words in out

    code, out, _ = run("halt-stats", "first", "--num-optimizees", "20", "--json")
    numbers = json.loads(out)
    assert {
        "halting",
        "prior",
        "elbo",
        "log_evidence",
        "amortisation_gap",
        "horizon_gap",
        "rank_correlation",
        "stopping",
    } <= set(numbers)
    found = numbers["stopping"]
    assert found["J"] == pytest.approx(found["loss"] + found["price"] * found["steps"])
    assert found["J_oracle"] <= min(found["J"], found["J_budget"], found["J_patience"], found["J_horizon"])
    assert found["steps"] == numbers["halting"]["mean"]
    assert numbers["log_evidence"] - numbers["elbo"] == pytest.approx(
        numbers["amortisation_gap"] + numbers["horizon_gap"]
    )
    again = json.loads(run("halt-stats", "first", "--num-optimizees", "20", "--json")[1])
    assert again == numbers
    other = json.loads(run("halt-stats", "first", "--num-optimizees", "20", "--json", "--seed", "1")[1])
    assert other["elbo"] != numbers["elbo"]

    code, out, _ = run("halt-stats", "first", "--num-optimizees", "20", "--evidence-curve", "--nu-draws", "100")
    assert code == 0
    for words in ("evidence of 20 problems", "1/(1 - nu)", "These problems want", "posterior of nu (NUTS)", "r_hat"):
        assert words in out
    assert (folder / "figures" / "evidence_curve.png").stat().st_size > 5_000
    with xr.open_datatree(folder / "nu.nc", engine="h5netcdf") as draws:
        assert dict(draws["posterior"].nu.sizes) == {"chain": 2, "draw": 100, "kind": 1}
    found = json.loads(run("halt-stats", "first", "--num-optimizees", "20", "--evidence-curve", "--json")[1])
    assert max(found["evidence"]) >= numbers["log_evidence"]  # at the nu of training, on the same problems
    assert found["posterior"] == {}
    refused(run("halt-stats", "first", "--nu-draws", "100"), "--nu-draws: expected --evidence-curve")

    for figure in (folder / "figures").iterdir():
        figure.unlink()
    code, out, _ = run("plot", "first", "--format", "svg", "--style", "dark")
    assert code == 0
    redrawn = {name.replace(".png", ".svg") for name in FIGURES}
    assert {Path(line).name for line in out.split()} == redrawn
    assert {path.name for path in (folder / "figures").iterdir()} == redrawn


def test_no_command_shows_them_all(run: Any) -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")
    assert "Error" not in err
    assert "\n  halt-stats              what its halting posterior looks like" in err


def test_each_command_is_there_and_has_its_line() -> None:
    modules = [import_module(f"probact.cli.{path.stem}") for path in (CLI.parent / "probact" / "cli").glob("*.py")]
    found = {one.name for module in modules for one in vars(module).values() if isinstance(one, click.Command)}
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    assert all(command is not None and command.name == name for name, command in commands.items())
    assert found - {"make", "check", None, cli.name} == commands.keys()
    assert cli.get_command(context, "halt_stats") is None


def test_help_and_version_load_no_torch() -> None:
    """They are there at once."""
    for option in ("--help", "--version"):
        code = f"import sys; sys.argv[1:] = ['{option}']; from probact.__main__ import main\n" + (
            "try: main()\nfinally: assert not {'torch', 'numpy', 'pyro', 'xarray'} & sys.modules.keys()"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=CLI.parent)


@pytest.mark.drawn
def test_several_seeds_become_chains(elsewhere: Path, run: Any) -> None:
    assert run("fit", *ARGUMENTS, "--seed", "3", "--chains", "2", "--out", "chains")[0] == 0
    assert {path.name for path in (elsewhere / "chains").iterdir()} >= {"seed-3", "seed-4", "posterior.nc"}
    with xr.open_datatree(elsewhere / "chains" / "posterior.nc", engine="h5netcdf") as tree:
        assert tree["posterior"].sizes["chain"] == 2
        assert tree["constant_data/halt_pmf"].dims == ("chain", "optimizee", "step")
    assert json.loads((elsewhere / "chains" / "experiment.json").read_text())["seed"] == [3, 4]
    code, out, _ = run("halt-stats", "chains", "--num-optimizees", "10", "--json")
    assert code == 0
    assert json.loads(out)["num_optimizees"] == 10
    assert {path.name for path in (elsewhere / "chains" / "figures").iterdir()} == FIGURES
    assert run("fit", "--resume", "chains")[0] == 0
    refused(run("fit", "--seed", "1", "--seed", "1"), "different seeds")
    refused(run("fit", "--seed", "1", "--seed", "2", "--chains", "2"), "--chains or a repeated --seed")


def test_without_a_halting_posterior(elsewhere: Path, run: Any) -> None:
    code, out, err = run("fit", *ARGUMENTS, "--halting", "none", "--out", "l2l")
    assert code == 0, err
    assert "best plain rule: " in out
    assert "The bound" not in out
    code, out, _ = run("halt-stats", "l2l", "--num-optimizees", "10")
    assert "no halting posterior (--halting none): the exact posterior alone" in out
    assert "ELBO" not in out
    numbers = json.loads(run("halt-stats", "l2l", "--num-optimizees", "10", "--json")[1])
    assert numbers["elbo"] is None
    assert numbers["log_evidence"] is not None


@pytest.mark.parametrize("halting", ["graves", "softmax", "truncated"])
def test_other_posteriors_and_a_hand_designed_rule(halting: str, elsewhere: Path, run: Any) -> None:
    code, out, err = run("fit", *ARGUMENTS, "--halting", halting, "--rule", "adam", "--out", "run")
    assert code == 0, err
    assert "adam: learning rate" in out
    assert json.loads((elsewhere / "run" / "experiment.json").read_text())["rule_options"]["lr"] > 0


def test_config_file(elsewhere: Path, run: Any) -> None:
    lines = [f"{key.replace('_', '-')} = {json.dumps(value)}" for key, value in TINY.items()]
    (elsewhere / "run.toml").write_text(
        "\n".join([*lines, "prior_nu = 0.7", "infer-horizon = true", "[rule-option]", "hidden-size = 5"])
    )
    code, _, err = run("fit", "--config", "run.toml", "--prior-nu", "0.6", "--out", "run")
    assert code == 0, err
    settings = json.loads((elsewhere / "run" / "experiment.json").read_text())
    assert settings["prior_nu"] == 0.6  # the command line wins
    assert settings["infer_horizon"] is True
    assert settings["horizon"] == 6
    assert settings["rule_options"] == {"hidden_size": "5"}
    (elsewhere / "bad.toml").write_text("prior-mu = 0.9\n")
    refused(run("fit", "--config", "bad.toml"), "unknown key 'prior-mu'", "choose from", "prior-nu")
    (elsewhere / "bad.toml").write_text("family = 'cubic'\n")
    refused(run("fit", "--config", "bad.toml"), "cubic", "quadratic")
    (elsewhere / "bad.toml").write_text("family = \n")
    refused(run("fit", "--config", "bad.toml"), "not TOML")
    refused(run("fit", "--config", "none.toml"), "none.toml")


def test_what_a_family_recommends_can_be_overruled() -> None:
    for more, first, inferred in (
        ("", False, True),
        ("--no-infer-horizon", False, False),
        ("--halting-first", True, False),
    ):
        settings = parsed(f"python cli.py fit --family digits {more}")
        assert (settings.halting_first, settings.infer_horizon) == (first, inferred)


def test_recommended_rule_options_are_the_default_rules() -> None:
    assert Experiment.create(family="mnist").rule_options == {"scale": 0.1}
    assert Experiment.create(family="mnist", rule="adam").rule_options == {}
    assert Experiment.create(family="mnist", rule_options={"hidden_size": 4}).rule_options == {"hidden_size": 4}
    saved = Experiment.create(family="mnist", rule_options={})
    assert Experiment.from_json(saved.to_json()) == saved


def test_recomputing_changes_nothing_but_memory(elsewhere: Path, run: Any) -> None:
    for flag in ("--recompute", "--keep-graph"):
        assert run("fit", *ARGUMENTS, flag, "--out", flag)[0] == 0
    weights = [torch.load(elsewhere / flag / "checkpoint.pt")["weights"] for flag in ("--recompute", "--keep-graph")]
    torch.testing.assert_close(*weights)
    settings = json.loads((elsewhere / "--recompute" / "experiment.json").read_text())
    assert settings["recompute"] is True


def test_data_directory(elsewhere: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given once for training; the run does not remember it, as it may be judged on another machine."""
    folder = os.environ[VARIABLE]
    monkeypatch.delenv(VARIABLE)
    arguments = ["--family", "mnist", "--rule", "sgd", "--rule-option", "lr=0.1", *ARGUMENTS[2:], "--out", "run"]
    arguments += ["--family-option", "hidden=2"]
    refused(run("fit", *arguments, "--data-dir", "absent"), "data directory", "absent")
    assert not (elsewhere / "run").exists()
    code, _, err = run("fit", *arguments, "--data-dir", folder)
    assert code == 0, err
    assert folder not in (elsewhere / "run" / "experiment.json").read_text()
    assert VARIABLE not in os.environ
    code, _, err = run("halt-stats", "run", "--num-optimizees", "2", "--data-dir", folder)
    assert code == 0, err


def test_prior(elsewhere: Path, run: Any) -> None:
    code, out, _ = run("prior", "--prior-nu", "0.95", "--horizon", "100")
    assert code == 0
    assert "E[t] = 1/(1 - nu) = 20 steps, E[T] = 58.49 steps" in out
    assert "0.05346 (step 1 to 2)" in out
    assert "0.7317 (step 99 to 100)" in out
    assert "not the same at every step" in out
    assert (elsewhere / "prior.png").stat().st_size > 5000


def test_priors_by_name(elsewhere: Path, run: Any) -> None:
    words = ("--horizon-prior", "flat", "--halting-prior", "uniform", "--horizon", "20", "--out", "flat.png")
    code, out, _ = run("prior", *words)
    assert code == 0
    assert "flat p(T), uniform p(t|T)" in out
    assert "price of a step, -log p(t+1)/p(t), in nats: 0.05129 (step 1 to 2), 0.05129 (step 10 to 11), 0.05129" in out
    assert "the mode of the exact posterior is the step with the smallest loss plus cost" in out
    assert "E[t]" not in out
    assert run("prior", "--horizon", "1")[0] == 0  # no step has a price there
    refused(run("prior", "--horizon-prior", "zipf"), "zipf", "geometric, flat, uniform, poisson")
    refused(run("prior", "--horizon-prior", "flat", "--halting-prior", "power"), "falls more slowly than nu^t")
    refused(run("prior", "--horizon-prior", "empirical", "--horizon-prior-option", "steps=0"), "steps >= 1")


def test_list_names_everything(run: Any) -> None:
    code, out, _ = run("list")
    assert code == 0
    out, _, of_files = out.partition("shipped optimizers")
    assert all(name in of_files for name in shipped())
    kinds = (FAMILIES, RULES, POSTERIORS, OBJECTIVES, ESTIMATORS, STOP_RULES, CONTROLLERS, HALTINGS, [NO_HALTING])
    names = Counter(name for kind in kinds for name in kind)
    for name, count in names.items():
        lines = [line for line in out.splitlines() if line.split()[:1] == [name]]
        assert len(lines) == count, name
        assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("quadratic", "dim=10 (>= 1), scale=1.0 (> 0)"),
        ("breast-cancer", "rows=200 (in 1..568)"),
        ("digits", "activation=sigmoid (sigmoid, relu, tanh)"),
        ("mnist", "mixed=False"),
        ("sgd", "lr=0.05 (> 0)"),
        ("adam", "beta1=0.9 (>= 0 and < 1)"),
        ("lstm", "hidden_size=20 (>= 1 and < 10000)"),
        ("patience", "epsilon=0.05 (>= 0)"),
    ],
)
def test_list_shows_the_options_with_default_and_range(name: str, option: str, run: Any) -> None:
    lines = run("list")[1].splitlines()
    place = next(place for place, line in enumerate(lines) if line.split()[:1] == [name])  # controllers come later
    rest = next(n for n, line in enumerate(lines[place + 1 :]) if not line.startswith(" " * 20))
    assert option in " ".join(" ".join(lines[place + 1 : place + 1 + rest]).split())


def test_list_shows_no_option_that_cannot_be_given(run: Any) -> None:
    out = run("list")[1]
    assert "unrolling=" not in out
    assert all(len(line) <= 100 for line in out.splitlines() if line.lstrip().startswith("options "))


@pytest.mark.parametrize("command", [[], ["fit"], ["halt-stats"], ["plot"], ["prior"], ["list"]])
def test_help(command: list[str], run: Any) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Usage:" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--family", "cubic"], ["cubic", "quadratic", "digits"]),
        (["--rule", "adamw2"], ["adamw2", "lstm"]),
        (["--halting", "never"], ["never", "stick-breaking", "none"]),
        (["--estimator", "gibbs"], ["gibbs", "collapse"]),
        (["--prior-nu", "1"], ["prior-nu", "> 0 and < 1", "got 1.0"]),
        (["--prior-nu", "0"], ["prior-nu", "> 0 and < 1"]),
        (["--prior-nu", "nan"], ["prior-nu", "> 0 and < 1"]),
        (["--prior-nu", "x"], ["prior-nu", "'x'"]),
        (["--horizon", "0"], ["--horizon", "a whole number >= 1", "got 0"]),
        (["--batch", "0"], ["--batch", ">= 1"]),
        (["--kl-scale", "0"], ["--kl-scale", "> 0"]),
        (["--log-loss-weight", "-1"], ["--log-loss-weight", ">= 0"]),
        (["--gradient", "es"], ["'es'", "backprop", "pes"]),
        (["--gradient", "pes", "--rule", "sgd"], ["pes", "weights", "sgd"]),
        (["--pes-sigma", "0"], ["--pes-sigma", "> 0"]),
        (["--imitate", "lstm"], ["--imitate", "expected one of sgd, momentum", "got 'lstm'"]),
        (["--lr", "-1"], ["--lr", "> 0"]),
        (["--meta-steps", "-1"], ["--meta-steps", ">= 0"]),
        (["--rule", "sgd", "--halting", "none"], ["nothing to train"]),
        (["--rule-option", "width=3"], ["no option 'width'", "hidden_size"]),
        (["--rule-option", "width"], ["KEY=VALUE"]),
        (["--family-option", "dim=ten"], ["expected int", "'ten'"]),
        (["--halting", "softmax", "--objective", "ponder-cost"], ["graves"]),
        (["--halting", "none", "--objective", "elbo"], ["halting posterior"]),
        (["--estimator", "sample", "--infer-horizon"], ["infer_horizon"]),
        (["--infer-horizon", "--halting-first"], ["infer_horizon or halting_first"]),
        (["--device", "abacus"], ["device 'abacus': expected cpu, cuda or the like of cuda:1"]),
        (["--device", "tpu"], ["device 'tpu': expected cpu, cuda or the like of cuda:1"]),
        (["--device", "meta"], ["device 'meta' cannot be used: "]),
        (["--no-such-option"], ["--no-such-option"]),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(
    arguments: list[str], words: list[str], elsewhere: Path, run: Any
) -> None:
    refused(run("fit", "--out", "run", *arguments), *words)
    assert not (elsewhere / "run").exists()


def test_bad_folders(elsewhere: Path, run: Any) -> None:
    refused(run("halt-stats"), "no run yet", "fit --prior-nu")
    refused(run("halt-stats", "nowhere"), "nowhere", "no run there")
    refused(run("plot", "nowhere"), "no run there")
    refused(run("fit", "--resume", "nowhere"), "no run there")
    refused(run("fit", "--resume", "nowhere", "--lr", "1"), "drop --lr")
    (elsewhere / "file").write_text("")
    refused(run("fit", *ARGUMENTS, "--out", "file/run"), "file/run", "Not a directory")
    answer = run("prior", "--out", "nowhere/prior.png")
    refused(answer, "nowhere", "No such file")
    assert answer[1] == ""
    refused(run("prior", "--prior-nu", "2"), "--prior-nu", "> 0 and < 1")
    refused(run("prior", "--horizon", "0"), "--horizon", ">= 1")


def test_a_run_is_never_overwritten(elsewhere: Path, run: Any) -> None:
    assert run("fit", *ARGUMENTS, "--out", "run")[0] == 0
    before = {path: path.read_bytes() for path in (elsewhere / "run").rglob("*") if path.is_file()}
    refused(run("fit", *ARGUMENTS, "--out", "run"), "already holds a run", "--resume")
    checkpoint = elsewhere / "run" / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    import pickle

    for content, what in (
        (whole[: len(whole) // 2], "truncated"),
        (b"\0" * 4000, "corrupt"),
        (whole[:200] + b"xx" + whole[202:], "changed"),
        (b"", "empty"),
        (pickle.dumps({"weights": Trap()}), "pickle"),
    ):
        checkpoint.write_bytes(content)
        if what == "changed":
            continue
        for command in (["halt-stats", "run"], ["fit", "--resume", "run"]):
            refused(run(*command), "checkpoint.pt", "not a probact checkpoint")
        assert checkpoint.read_bytes() == content
    assert not (elsewhere / "sprung").exists()
    import torch

    torch.save({"other": 1}, checkpoint)
    refused(run("halt-stats", "run"), "expected format")
    torch.save([1], checkpoint)
    refused(run("halt-stats", "run"), "expected a probact checkpoint, got a list")
    checkpoint.unlink()
    refused(run("halt-stats", "run"), "no checkpoint.pt")
    for path, content in before.items():
        if path != checkpoint and path.name != "metrics.jsonl":
            assert path.read_bytes() == content, path
    (elsewhere / "run" / "experiment.json").write_text("{")
    refused(run("halt-stats", "run"), "experiment.json", "not an experiment")
    (elsewhere / "run" / "posterior.nc").write_bytes(b"netcdf?")
    (elsewhere / "run" / "experiment.json").write_bytes(before[elsewhere / "run" / "experiment.json"])
    refused(run("plot", "run"), "posterior.nc", "not a posterior file")


class Trap:
    """A pickle that would write a file if anything ran it."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("sprung",)


def test_a_full_disk_is_one_line_and_loses_nothing(elsewhere: Path) -> None:
    """A limit on file size stands for a full disk: the checkpoint no longer fits."""
    train(Run.create(Path("run"), tiny(), [0]).chains[0], lambda record: None, lambda: True)  # its first step
    checkpoint = elsewhere / "run" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    limit = len(before) // 2

    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "sys.argv = ['cli.py', 'fit', '--resume', 'run']; from probact.__main__ import main; main()"
    )
    process = python(elsewhere, code)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2, said
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "File too large" in errors[0]
    assert "Traceback" not in said
    assert checkpoint.read_bytes() == before
    assert not list((elsewhere / "run").glob(".*"))
