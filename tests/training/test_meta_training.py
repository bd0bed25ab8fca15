from __future__ import annotations

import json
import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from probact.judging.tuning import with_tuned_rate
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream
from probact.training.meta_training import MetaTraining
from probact.training.tally import Validation
from tests.helpers.processes import FIT, final_weights, lines, start, wait_for
from tests.helpers.properties import assert_resumes_bit_for_bit
from tests.helpers.trainings import same, tiny


def test_training_improves_the_objective() -> None:
    training = MetaTraining(tiny(horizon=10, batch=32, meta_steps=40, validate_every=40))
    before = training.validate().loss
    for _ in training:
        pass
    assert training.best_validation < 0.7 * before


def test_halting_trains_on_plain_adam() -> None:
    """Only the head learns, and the bound rises towards the evidence."""
    training = MetaTraining(
        tiny(rule="adam", rule_options={"lr": 0.2}, halting="truncated", batch=32, meta_steps=60, lr=0.05)
    )
    before = training.validate().loss
    for _ in training:
        pass
    assert training.best_validation < before - 0.01


def test_same_seed_same_weights_other_seed_others() -> None:
    runs = []
    for seed in (0, 0, 1):
        training = MetaTraining(tiny(seed=seed))
        list(training)
        runs.append(training.objective.state_dict())
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_random_streams_do_not_overlap() -> None:
    streams = [
        ("train", 0, 0),
        ("train", 0, 1),
        ("train", 1, 0),
        ("validation", 0, 0),
        ("test", 0, 0),
        ("tuning", 0, 0),
    ]
    assert len({random_stream(*stream).initial_seed() for stream in streams}) == len(streams)


@pytest.mark.parametrize("estimator", ["collapse", "sample"])
def test_resume_in_process_is_bitwise(estimator: str, tmp_path: Path) -> None:
    assert_resumes_bit_for_bit(tiny(estimator=estimator), tmp_path / "run")


def test_the_best_weights_are_kept() -> None:
    training = MetaTraining(tiny())
    seen = {}
    for record in training:
        if record.validation is not None:
            seen[record.validation] = {n: w.clone() for n, w in training.objective.state_dict().items()}
    assert training.best_validation == min(seen)
    assert same(training.best_weights, seen[min(seen)])


def test_one_diverging_problem_does_not_keep_the_untrained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a diverged problem costs is in the loss; the untrained weights are validated before all."""
    outcomes = iter([(0, 5.0, None), (2, 4.5, None), (1, 4.0, None), (0, 4.2, None)])
    training = MetaTraining(tiny())
    monkeypatch.setattr(training, "validate", lambda: Validation(*next(outcomes)))
    weights = {record.step: {n: w.clone() for n, w in training.objective.state_dict().items()} for record in training}
    assert (training.best_diverged, training.best_validation) == (1, 4.0)
    assert same(training.best_weights, weights[4])


def test_a_training_that_only_does_harm_leaves_what_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = iter([(0, 1.0, None), *[(0, 2.0, None)] * 3])
    training = MetaTraining(tiny())
    untrained = {n: w.clone() for n, w in training.objective.state_dict().items()}
    monkeypatch.setattr(training, "validate", lambda: Validation(*next(outcomes)))
    list(training)
    assert same(training.best_weights, untrained)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_non_finite_gradients_are_skipped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    training = MetaTraining(tiny(meta_steps=3))
    original, calls = training.objective.loss, []

    def sometimes_nan(*args: Any) -> torch.Tensor:
        calls.append(1)
        return original(*args) * (math.nan if len(calls) == 3 else 1.0)  # the first validates the untrained weights

    monkeypatch.setattr(training.objective, "loss", sometimes_nan)
    steps = iter(training)
    next(steps)
    before = {n: w.clone() for n, w in training.objective.state_dict().items()}
    record = next(steps)
    assert record.skipped == 1
    assert not math.isfinite(record.grad_norm)
    assert same(training.objective.state_dict(), before)
    assert next(steps).skipped == 1
    assert all(bool(weight.isfinite().all()) for weight in training.objective.parameters())


def test_gradient_is_clipped() -> None:
    training = MetaTraining(tiny(clip=1e-3))
    record = next(iter(training))
    norm = torch.nn.utils.get_total_norm([w.grad for w in training.objective.parameters() if w.grad is not None])
    assert record.grad_norm > 1e-3
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_kl_warmup_anneals() -> None:
    assert [record.anneal for record in MetaTraining(tiny(kl_warmup=4))] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_rate_falls_on_a_cosine() -> None:
    rates = [record.lr for record in MetaTraining(tiny(lr=1.0))]
    assert rates == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(6)])


def test_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="nothing to train: rule 'adam' has no weights and halting is 'none'"):
        MetaTraining(tiny(rule="adam", halting="none"))


def test_loss_that_is_nan_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    training = MetaTraining(tiny())
    sample = training.family.sample

    def broken(num: int, random: torch.Generator) -> Any:
        optimizee = sample(num, random)
        return type(optimizee)(**{**vars(optimizee), "target": optimizee.target * math.nan})  # type: ignore[attr-defined]

    monkeypatch.setattr(training.family, "sample", broken)
    with pytest.raises(ValueError, match="family 'quadratic': nll: expected a finite loss at theta_0, got none in 32"):
        next(iter(training))


def test_hand_designed_rules_get_a_tuned_rate() -> None:
    tuned = with_tuned_rate(tiny(rule="sgd"))
    lr = tuned.rule_options["lr"]
    # independent: the best of a coarse scan on the tuning problems
    from probact.problems.base import FAMILIES
    from probact.rules.base import RULES
    from probact.unrolling.rollout import unroll

    tuning = FAMILIES["quadratic"]().sample(128, random_stream("tuning", 0))
    final = {r: float(unroll(RULES["sgd"](lr=r), tuning, 6).nll[-1].mean()) for r in (lr / 2, lr, lr * 2)}
    assert min(final, key=final.__getitem__) == lr
    # the other options take part: heavy ball without momentum is gradient descent
    still = with_tuned_rate(tiny(rule="momentum", rule_options={"momentum": "0"}))
    assert still.rule_options == {"momentum": "0", "lr": lr}
    assert with_tuned_rate(tiny(rule="momentum")).rule_options["lr"] != lr
    taught = with_tuned_rate(tiny(imitate="sgd"))
    assert taught == tiny(imitate="sgd", imitation_lr=lr)
    assert with_tuned_rate(taught) is taught
    given = tiny(rule="sgd", rule_options={"lr": 0.3})
    assert with_tuned_rate(given) is given
    assert with_tuned_rate(tiny()) == tiny()


BRIEF = [*FIT, "--validate-every", "40", "--meta-steps", "100", "--validation-problems", "4", "--test-problems", "6"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    process = start(folder, [*BRIEF, "--out", "run"])
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "halt-stats" in output
    return final_weights(folder / "run")


def test_sigkill_then_resume_is_bitwise(uninterrupted: dict[str, Any], tmp_path: Path) -> None:
    """Killed early, and interrupted later."""
    arguments = [*BRIEF, "--out", "run"]
    for at_least, number in ((20, signal.SIGKILL), (60, signal.SIGINT)):
        process = start(tmp_path, arguments)
        wait_for(lambda n=at_least: lines(tmp_path / "run" / "metrics.jsonl") >= n, process)
        process.send_signal(number)
        process.communicate(timeout=60)
        arguments = ["--resume", "run"]
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12')  # what a kill in the middle of a line leaves
    process = start(tmp_path, arguments)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert same(final_weights(tmp_path / "run"), uninterrupted)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 101))


@pytest.mark.parametrize(
    "request_",
    [signal.SIGINT, *(pytest.param(other, marks=pytest.mark.slow) for other in (signal.SIGTERM, signal.SIGHUP))],
)
def test_ctrl_c_saves_and_says_how_to_resume(request_: signal.Signals, tmp_path: Path) -> None:
    """Also the end of a job, or of the terminal."""
    process = start(tmp_path, [*BRIEF, "--out", "run"])
    wait_for(lambda: lines(tmp_path / "run" / "metrics.jsonl") >= 20, process)
    process.send_signal(request_)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping after this meta-step" in errors
    assert "python cli.py fit --resume run" in errors
    assert "Traceback" not in errors
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"]
    assert saved == lines(tmp_path / "run" / "metrics.jsonl")


def by_segment(**settings: Any) -> Experiment:
    given = {"halting": "none", "horizon": 6, "truncate": 3, "batch": 4, "meta_steps": 2, "validation_problems": 4}
    return Experiment.create(family="quadratic", by_segment=True, **{**given, **settings})


@pytest.mark.parametrize("through_path", [True, False])
def test_by_segment_is_truncated_backpropagation_in_parts(through_path: bool, double: None) -> None:
    """Between updates that change nothing the parts' gradients add up to the whole's."""
    experiment = by_segment(through_path=through_path)
    whole = build_objective(replace(experiment, by_segment=False)).double()
    parted = build_objective(experiment).double()
    problems = experiment.build_family().sample(4, random_stream("test", 0)).to(torch.float64)
    loss, _ = whole(problems)
    loss.backward()
    losses = []
    for part, _ in parted.scored_unrolls(problems):
        part.backward()
        losses.append(part.detach())
    torch.testing.assert_close(torch.stack(losses).sum(), loss.detach())
    for mine, other in zip(parted.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_by_segment_updates_after_each_segment() -> None:
    training = MetaTraining(by_segment(meta_steps=1))
    next(iter(training))
    steps = {int(state["step"]) for state in training.optimizer.state.values()}
    assert steps == {2}


def test_a_batch_that_diverges_on_the_way_is_no_bad_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """By segment the later parts begin where all problems are lost already: an update is skipped, no more."""
    training = MetaTraining(by_segment(meta_steps=1))
    parts = training.objective.scored_unrolls

    def then_lost(*arguments: Any) -> Any:
        for place, (loss, rollout) in enumerate(parts(*arguments)):
            lost = rollout._replace(nll=torch.full_like(rollout.nll, math.inf))
            yield (loss * math.nan, lost) if place else (loss, rollout)

    monkeypatch.setattr(training.objective, "scored_unrolls", then_lost)
    record = next(iter(training))
    assert (record.skipped, record.diverged) == (1, 4)
    assert math.isnan(record.grad_norm)


def test_by_segment_is_for_losses_that_add_up() -> None:
    with pytest.raises(ValueError, match="expected an objective that adds up over steps"):
        build_objective(by_segment(halting="stick-breaking"))
