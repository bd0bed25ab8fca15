"""``evaluate``: runs against tuned baselines, and every way to stop them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probact.cli.advice import command, failures, figures_in
from probact.cli.evaluate_curves import CURVES_OPTIONS, OWN, asks_for_curves, curves_options, evaluate_curves
from probact.cli.options import (
    Declared,
    Place,
    data_directory_option,
    key_values,
    prior_nu_option,
    setting_option,
    threads_option,
)
from probact.cli.progress import telling
from probact.problems.base import FAMILIES
from probact.reports import text
from probact.rules.base import RULES
from probact.rules.hand_designed import hand_designed
from probact.runs.assembly import family_judged, num_coordinates
from probact.runs.experiment import SETTINGS, Experiment
from probact.runs.settings import Setting
from probact.support.devices import check_device
from probact.support.threads import use_threads

ON_FAMILY = Declared(SETTINGS["family"])

if TYPE_CHECKING:
    from probact.judging.comparison import Entry
    from probact.judging.results import BestStop, Evaluation
    from probact.runs.sources import Candidate


def _numbers(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[int, ...] | None:
    if not given:
        return None
    value = ",".join(given)
    try:
        steps = tuple(sorted({int(item) for item in value.split(",")}))
    except ValueError:
        steps = ()
    if not steps or steps[0] < 1:
        raise click.BadParameter(f"expected steps >= 1 like 10,100, got {value!r}", context, parameter)
    return steps


@click.command()
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option(
    "--family", type=Declared(SETTINGS["family"]), help="Evaluate on this family.  [default: the first run's]"
)
@key_values("family-option", "Option of that family: a wider network, another dimension.")
@click.option(
    "--baselines",
    default="usual",
    show_default=True,
    help="Hand-designed rules, comma separated; cg for the limit; usual, all or none.  Usual are those whose rates for "
    "each family come with the package, and cg; the others are tuned first.",
)
@click.option(
    "--rule-string",
    "formulas",
    multiple=True,
    help="A rule as a formula, such as 'g * exp(sign(g) * sign(m))', judged beside the baselines, its rate tuned as "
    "theirs; may be repeated.  `list` shows the words, under the rule expression.",
)
@click.option(
    "--at",
    multiple=True,
    callback=_numbers,
    help="Steps at which losses are compared.  [default: 1, 5, 10, 20, 50 and H, as far as H]",
)
@click.option("--num-optimizees", type=click.IntRange(min=2), help="Held-out problems.  [default: the family's]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which problems.")
@click.option(
    "--cost", type=Declared(Setting(1.0, above=0)), help="Price of a step in nats.  [> 0; default: the run's -log nu]"
)
@click.option(
    "--safeguard", is_flag=True, help="Let all but the baselines go back to their best iterate when they get lost."
)
@prior_nu_option
@threads_option
@data_directory_option
@setting_option("device", filled=True)
@curves_options
@click.option("--out", type=Place(), help="Folder.  [default: evaluation-<family> in the first run's]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the tables.")
@click.pass_context
def evaluate(context: click.Context, /, **given: Any) -> None:
    """Judge runs against tuned baselines on held-out problems, and every way to stop them.

    RUNs are folders that `fit` wrote; the latest one when neither a run nor --family is named; baselines alone with
    --family alone.  Files of `export` and shipped optimizers, which `list` names, stand for runs where --family says
    what to judge them on.  Writes evaluation.json, evaluation.nc and figures.  Learning rates and thresholds are tuned
    on problems of their own.

    With --curves it judges ways to stop on recorded training curves, at each --price of a look at them, by rules tuned
    on curves of other data sets, and writes curves.json and figures.
    """
    if asks_for_curves(context):
        evaluate_curves(**{name: given[name] for name in CURVES_OPTIONS})
    else:
        _evaluate_runs(**{name: value for name, value in given.items() if name not in OWN})


def _evaluate_runs(
    names: tuple[str, ...],
    family: str | None,
    family_options: dict[str, str],
    baselines: str,
    formulas: tuple[str, ...],
    at: tuple[int, ...] | None,
    num_optimizees: int | None,
    seed: int,
    cost: float | None,
    safeguard: bool,
    prior_nu: float | None,
    threads: int | None,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """What ``evaluate`` does without curves."""
    from probact.judging.comparison import references
    from probact.judging.evaluation import best_stops, evaluate as evaluate_all
    from probact.judging.problem_sets import reported_steps
    from probact.reports.evaluation_report import write
    from probact.runs.run import RUNS, Run
    from probact.runs.sources import Candidate
    from probact.support.files import check_writable

    sources = [Candidate.open(name, family, prior_nu) for name in names]
    if not sources and family is None:
        sources = [Candidate.of_run(Run.latest().at(prior_nu))]
    check_device(device)
    experiment = replace(_judged_on(sources, family, family_options), device=device)
    known = references(FAMILIES[experiment.family])
    chosen = [*_chosen(baselines, known), *_of_formulas(formulas, experiment.family)]
    if not sources and not chosen:
        raise click.UsageError("nothing to evaluate: expected a run, baselines or a rule string")
    base = sources[0].folder if sources else RUNS
    folder = out or base / "-".join(["evaluation", experiment.family, *_spelled(family_options, "=")])
    check_writable(folder / "evaluation.json")
    failed = _warned(sources)
    use_threads(num_coordinates(experiment), threads)
    with telling() as tell:
        result, data = evaluate_all(
            experiment,
            sources,
            chosen,
            at or reported_steps(experiment.horizon),
            num=num_optimizees,
            seed=seed,
            cost=cost,
            safeguard=safeguard,
            tell=tell,
        )
    write(result, data, folder)
    if as_json:
        click.echo(result.to_json())
        return
    best = best_stops(result)
    _show(result, best, folder)
    if not failed and len(sources) == 1 and _is_run(sources[0]) and (worn := [one for one in best if one.trained]):
        click.echo(_advice(sources[0], worn[0], result.start_loss))


def _warned(sources: Sequence[Candidate]) -> bool:
    """Say which trainings of the sources failed; whether any has."""
    from probact.runs.run import Run

    runs = [Run.open(source.folder) for source in sources if _is_run(source)]
    lines = [f"{run.folder}: {line}" for run in runs for line in failures(run)]
    for line in lines:
        click.echo(f"Warning: {line}", err=True)
    return bool(lines)


def _is_run(source: Candidate) -> bool:
    return (source.folder / "experiment.json").exists()


def _of_formulas(formulas: Sequence[str], family: str) -> list[Entry]:
    """A baseline for each, once."""
    from probact.judging.comparison import FORMULA, Entry

    if formulas and RULES[FORMULA].sees is not FAMILIES[family].shows[0]:
        raise click.UsageError(f"--rule-string: expected a family that shows a gradient, got {family}")
    try:
        return list({entry.label: entry for entry in map(Entry.of_formula, formulas)}.values())
    except ValueError as error:
        raise click.UsageError(f"--rule-string: {error}") from None


def _spelled(options: Mapping[str, object], between: str) -> list[str]:
    return [f"{key}{between}{value}" for key, value in options.items()]


def _show(result: Evaluation, best: Sequence[BestStop], folder: Path) -> None:
    options = _spelled(result.family_options, " ")
    click.echo(", ".join([f"family {result.family}", *options, f"test problems of seed {result.seed}"]))
    click.echo(f"\n{text.evaluation_table(result)}")
    click.echo(f"\n{text.stopping_table(result, best)}")
    click.echo(f"\nwritten to {folder}: evaluation.json, evaluation.nc, {figures_in(folder / 'figures')}")


def _advice(source: Candidate, worn: BestStop, start: float) -> str:
    """The command that exports ``source`` with the stop found best for it, unless that ends no lower than ``start``."""
    if not worn.loss < start:
        return f"nothing to export: {source.folder} ends no lower than where these problems start, {start:.4g} nats"
    seed = ("--seed", worn.seed) if len(source.seeds) > 1 else ()
    return f"next: {command('export', source.folder, *seed, '--out', 'optimizer.pt', '--stop', worn.spelled)}"


def _judged_on(sources: Sequence[Candidate], family: str | None, family_options: Mapping[str, str]) -> Experiment:
    """The first source's experiment, on the family asked for."""
    from probact.judging.problem_sets import retarget

    families = {source.experiment.family for source in sources}
    if family is None and len(families) > 1:
        raise click.UsageError(f"the runs are of different families: choose one of {', '.join(sorted(families))}")
    first = sources[0].experiment if sources else Experiment.create(family=family)
    return family_judged(retarget(first, family or first.family, family_options))


def _chosen(names: str, known: Mapping[str, Entry]) -> list[Entry]:
    rules = hand_designed()
    groups: dict[str, list[str]] = {
        "usual": [name for name in known if name not in rules or rules[name].usual],
        "all": list(known),
        "none": [],
    }
    chosen = dict.fromkeys(name for given in names.split(",") for name in groups.get(given, [given]))
    for name in chosen:
        if name not in known:
            if not known and name in rules:
                raise click.UsageError(f"baseline {name!r}: expected none, as these problems show no gradient")
            raise click.UsageError(
                f"unknown baseline {name!r}: choose from {', '.join([*known, 'usual, all or none'])}"
            )
    return [known[name] for name in chosen]
