"""The command line: parses, calls, prints."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

import probact
from probact import printing
from probact.beliefs import HALTING_LEVEL, NO_HALTING
from probact.experiment import Experiment
from probact.options import DEFAULTS, choice, key_values, read_config, setting
from probact.priors import Prior
from probact.registry import ESTIMATORS, FAMILIES, OBJECTIVES, POSTERIORS, RULES, STOP_RULES

HALTING_CHOICES = [*POSTERIORS, NO_HALTING]


def main() -> NoReturn:
    """Run a command; a mistake in the input becomes one line on stderr and exit code 2."""
    try:
        code = cli.main(prog_name=Path(sys.argv[0]).name, standalone_mode=False) or 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.Abort:
        code = 130
    except click.ClickException as error:
        _complain(error.format_message())
        code = 2
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        code = 2
    except ValueError as error:
        _complain(str(error))
        code = 2
    sys.exit(code)


def _complain(message: str) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)


@click.group(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.version_option(probact.__version__, prog_name="probact")
def cli() -> None:
    """probact: learned optimizers that know when to stop.

    \b
    First steps:
      fit --prior-nu 0.95      meta-train an optimizer with a latent halting step
      halt-stats               what its halting posterior looks like beside the prior
      evaluate                 judge it against tuned baselines, and every way to stop
      plot                     redraw the figures of a run
      prior --prior-nu 0.95    the prior alone
      list                     families, rules, halting posteriors, objectives, estimators, stop rules
    """


@cli.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=read_config,
    is_eager=True,
    expose_value=False,
    help="TOML file with any of these options as keys (prior-nu = 0.9); the command line wins.",
)
@setting("prior_nu", float, "Probability to continue, in (0, 1): the halting step has prior mean 1 / (1 - nu).")
@setting("family", choice(FAMILIES), "What the optimizer is trained on; see `list`.")
@setting("rule", choice(RULES), "The optimizer, learned or hand-designed (then only its halting is trained).")
@setting("halting", click.Choice(HALTING_CHOICES), "Halting posterior q(t|x,T); `none` learns to optimize only.")
@setting("objective", choice(OBJECTIVES), "What training minimises.  [default: the halting posterior's own]")
@setting("horizon", int, "H: steps of an unroll, the cap on T and t.")
@setting("estimator", choice(ESTIMATORS), "How the ELBO sums over T and t.")
@setting("kl_scale", float, "Weight of the KL to the prior; 1 makes the bound a bound.")
@setting("kl_warmup", int, "Meta-steps over which that weight rises from 0.")
@click.option(
    "--infer-horizon/--no-infer-horizon",
    default=None,
    help="Put the optimal q(T|x) in the guide in place of p(T): a tighter bound.  [default: no]",
)
@click.option(
    "--halting-first/--horizon-first",
    default=None,
    help="Let the guide be q(t|x) p(T|t), not p(T) q(t|x,T): no horizon gap, online hazards.  [default: horizon first]",
)
@setting("ponder_cost", float, "tau of Graves' objective, in nats.")
@setting("meta_steps", int, "Updates of the optimizer's weights.")
@setting("batch", int, "L: problems of one meta-step.")
@setting("lr", float, "Meta learning rate, falling to 0 on a cosine.")
@setting("clip", float, "Largest norm of the meta-gradient.")
@setting("truncate", int, "Steps of truncated backpropagation; 0 keeps the whole graph.")
@click.option(
    "--through-path/--cut-path",
    default=None,
    help="Backpropagate through the path of the parameters, or cut it at every step.  [default: cut]",
)
@setting("validate_every", int, "Meta-steps between validations; the best weights are kept.")
@setting("validation_problems", int, "Problems of the fixed validation set.")
@setting("test_problems", int, "Held-out problems of the summary and of posterior.nc.")
@key_values("family-option", "Option of the family.")
@key_values("rule-option", "Option of the rule.")
@click.option(
    "--seed",
    "seeds",
    type=click.IntRange(min=0),
    multiple=True,
    help="Seed; repeat it for several chains.  [default: 0]",
)
@click.option("--chains", type=click.IntRange(min=1), help="This many chains, seeds counted up from --seed.")
@setting("device", str, "cpu or cuda.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/<names>-<time>]")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue this run; takes no other option.")
@click.pass_context
def fit(
    context: click.Context,
    /,
    seeds: tuple[int, ...],
    chains: int | None,
    out: Path | None,
    resume: Path | None,
    **given: Any,
) -> None:
    """Meta-train an optimizer and its halting posterior, then report.

    Writes experiment.json, checkpoint.pt, metrics.jsonl, posterior.nc, summary.json and figures/*.png to the run's
    folder.  Ctrl-C saves; --resume continues, also after a crash, to the same weights bit for bit.

    Defaults stand in brackets; a family may recommend its own, which `list` shows.
    """
    from probact.fitting import report, train, with_tuned_rate
    from probact.runs import Run, new_folder
    from probact.training import MetaTraining

    if resume is not None:
        sources = {name: context.get_parameter_source(name) for name in context.params}
        others = [n for n, source in sources.items() if n != "resume" and source is not ParameterSource.DEFAULT]
        if others:
            raise click.UsageError(
                f"--resume takes its settings from {resume}/experiment.json: drop {', '.join(sorted(others))}"
            )
        run = Run.open(resume)
        run.mark_latest()
    else:
        experiment = Experiment.create(**{name: value for name, value in given.items() if value not in (None, {})})
        _check_device(experiment.device)
        tuned = with_tuned_rate(experiment)
        if tuned is not experiment:
            click.echo(f"{tuned.rule}: learning rate {tuned.rule_options['lr']:g}, tuned for step {tuned.horizon}")
        MetaTraining(tuned)  # refuses what cannot be trained before anything is written
        run = Run.create(out or new_folder(tuned), tuned, _seeds(seeds, chains))
    settings = run.experiment
    click.echo(
        f"run {run.folder}: family {settings.family}, rule {settings.rule}, halting {settings.halting}, "
        f"nu {settings.prior_nu:g}, {settings.meta_steps} meta-steps of {settings.batch} problems, H {settings.horizon}"
    )
    with _asked_to_stop() as asked:
        for chain in run.chains:
            with _progress(chain.experiment) as on_record:
                if not train(chain, on_record, lambda: bool(asked)):
                    _interrupted(run.folder)
    summary = report(run)
    click.echo(f"\n{printing.losses(summary)}\n")
    click.echo(printing.halting(summary, settings.prior_nu, settings.halting, settings.horizon))
    click.echo(f"\nwritten to {run.folder}: posterior.nc, summary.json, {len(list(run.figures.iterdir()))} figures")
    click.echo(f"next: python cli.py halt-stats {run.folder}")


def _seeds(seeds: tuple[int, ...], chains: int | None) -> tuple[int, ...]:
    seeds = seeds or (0,)
    if len(set(seeds)) < len(seeds):
        raise click.UsageError(f"expected different seeds, got {', '.join(map(str, seeds))}")
    if chains is None:
        return seeds
    if len(seeds) > 1:
        raise click.UsageError("expected --chains or a repeated --seed, got both")
    return tuple(range(seeds[0], seeds[0] + chains))


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise click.UsageError(f"device {name!r} cannot be used: {str(error).partition('.')[0]}") from None


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """A list that fills on the first Ctrl-C or SIGTERM, so that a meta-step is never cut in half."""
    asked: list[int] = []

    def remember(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupted(folder: Path) -> NoReturn:
    click.echo(f"interrupted and saved; continue with: python cli.py fit --resume {folder}", err=True)
    raise click.exceptions.Exit(130)


@contextmanager
def _progress(experiment: Experiment) -> Iterator[Any]:
    """A progress bar on a terminal, a line a validation elsewhere."""
    from tqdm import tqdm

    from probact.training import Record

    terminal = sys.stderr.isatty()
    label = f"seed {experiment.seed}"
    with tqdm(total=experiment.meta_steps, desc=label, unit="step", disable=not terminal, dynamic_ncols=True) as bar:

        def show(record: Record) -> None:
            bar.update(record.step - bar.n)
            halting = "" if record.mean_halting is None else f" E[t] {record.mean_halting:.1f}"
            bar.set_postfix_str(f"loss {record.loss:.4g}{halting} |g| {record.grad_norm:.2g}")
            if not terminal and record.validation is not None:
                click.echo(
                    f"{label}: meta-step {record.step}/{experiment.meta_steps}"
                    f"  validation {record.validation:.4g}{halting}  |g| {record.grad_norm:.2g}",
                    err=True,
                )

        yield show


def _run_argument(function: Any) -> Any:
    return click.argument("folder", metavar="[RUN]", required=False, type=click.Path(path_type=Path))(function)


def _open(folder: Path | None) -> Any:
    from probact.runs import Run

    return Run.latest() if folder is None else Run.open(folder)


@cli.command("halt-stats")
@_run_argument
@click.option(
    "--num-optimizees", type=click.IntRange(min=2), default=1000, show_default=True, help="Held-out problems."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which problems.")
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=HALTING_LEVEL,
    show_default=True,
    help="A problem halts once this share of q(t|x) is spent; 0.5 is the median.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def halt_stats(folder: Path | None, num_optimizees: int, seed: int, level: float, as_json: bool) -> None:
    """How a run halts, on fresh problems: beside the prior, the exact posterior and the full horizon.

    RUN is a folder that `fit` wrote; the latest one when none is named.
    """
    from probact.beliefs import halting_statistics
    from probact.diagnostics import to_datatree
    from probact.evaluation import held_out_problems
    from probact.files import finite_numbers

    run = _open(folder)
    objectives = [chain.load() for chain in run.chains]
    problems = held_out_problems(run.experiment, num_optimizees, seed)
    tree = to_datatree(run.experiment, objectives, problems, num_draws=1, seed=seed)
    statistics = halting_statistics(tree, level)
    if as_json:
        click.echo(json.dumps(finite_numbers(statistics)))
        return
    settings = run.experiment
    click.echo(f"run {run.folder}: family {settings.family}, rule {settings.rule}, halting {settings.halting}\n")
    click.echo(printing.halting(statistics, settings.prior_nu, settings.halting, settings.horizon))


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        steps = tuple(sorted({int(item) for item in value.split(",")}))
    except ValueError:
        steps = ()
    if not steps or steps[0] < 1:
        raise click.BadParameter(f"expected steps >= 1 like 10,100, got {value!r}", context, parameter)
    return steps


@cli.command()
@click.argument("folders", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--family", type=choice(FAMILIES), help="Evaluate on this family.  [default: the first run's]")
@key_values("family-option", "Option of that family: a wider network, another dimension.")
@click.option(
    "--baselines",
    default="all",
    show_default=True,
    help="Hand-designed rules, comma separated; cg for the limit; all or none.",
)
@click.option(
    "--at",
    callback=_numbers,
    help="Steps at which losses are compared.  [default: 1, 5, 10, 20, 50 and H, as far as H]",
)
@click.option("--num-optimizees", type=click.IntRange(min=2), help="Held-out problems.  [default: the family's]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which problems.")
@click.option(
    "--cost", type=click.FloatRange(0, min_open=True), help="Price of a step in nats.  [default: the run's -log nu]"
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder.  [default: evaluation-<family> in the first run's]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the tables.")
def evaluate(
    folders: tuple[Path, ...],
    family: str | None,
    family_options: dict[str, str],
    baselines: str,
    at: tuple[int, ...] | None,
    num_optimizees: int | None,
    seed: int,
    cost: float | None,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge runs against tuned baselines on held-out problems, and every way to stop them.

    RUNs are folders that `fit` wrote; the latest one when neither a run nor --family is named; baselines alone with
    --family alone.  Writes evaluation.json, evaluation.nc and figures.  Learning rates and thresholds are tuned on
    problems of their own.
    """
    from dataclasses import replace

    from probact.evaluation import baseline_names, held_out_problems, reported_steps, retarget
    from probact.judging import best_stops
    from probact.judging import evaluate as judge
    from probact.runs import RUNS, Run

    runs = [Run.open(folder) for folder in folders] or ([] if family else [Run.latest()])
    _check_device(device)
    first = runs[0].experiment if runs else Experiment.create(family=family)
    families = {run.experiment.family for run in runs}
    if family is None and len(families) > 1:
        raise click.UsageError(f"the runs are of different families: choose one of {', '.join(sorted(families))}")
    experiment = replace(retarget(first, family or first.family, family_options), device=device)
    known = baseline_names(held_out_problems(experiment, 2))
    names = {"all": known, "none": []}.get(baselines) if baselines in ("all", "none") else baselines.split(",")
    assert names is not None
    for name in names:
        if name not in known:
            raise click.UsageError(f"unknown baseline {name!r}: choose from {', '.join(known)}, all or none")
    if not runs and not names:
        raise click.UsageError("nothing to evaluate: expected a run or baselines")
    shifted = "" if not family_options else "-" + "-".join(f"{key}={value}" for key, value in family_options.items())
    base = runs[0].folder if runs else RUNS
    folder = out or base / f"evaluation-{experiment.family}{shifted}"
    result = judge(
        experiment,
        runs,
        names,
        at or reported_steps(experiment.horizon),
        num=num_optimizees,
        seed=seed,
        cost=cost,
        out=folder,
    )
    if as_json:
        click.echo(json.dumps(result))
        return
    options = ", ".join(f"{key} {value}" for key, value in family_options.items())
    click.echo(f"family {experiment.family}{f' ({options})' if options else ''}, test problems of seed {seed}\n")
    click.echo(printing.evaluation(result))
    click.echo(f"\n{printing.stopping(result, best_stops(result))}")
    click.echo(
        f"\nwritten to {folder}: evaluation.json, evaluation.nc, {len(list((folder / 'figures').iterdir()))} figures"
    )


@cli.command()
@_run_argument
def plot(folder: Path | None) -> None:
    """Redraw the figures of a run from its posterior.nc and metrics.jsonl.

    RUN is a folder that `fit` wrote; the latest one when none is named.
    """
    from probact import beliefs, plots

    run = _open(folder)
    for path in plots.draw_all(beliefs.load(run.posterior), run.records(), run.figures):
        click.echo(path)


@cli.command()
@click.option(
    "--prior-nu", type=float, default=DEFAULTS["prior_nu"], show_default=True, help="Probability to continue."
)
@click.option("--horizon", type=int, default=DEFAULTS["horizon"], show_default=True, help="H, the cap on T and t.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("prior.png"), show_default=True, help="Figure.")
def prior(prior_nu: float, horizon: int, out: Path) -> None:
    """Print and draw the prior over horizon T and halting step t."""
    from matplotlib import rc_context

    from probact import plots

    chosen = Prior(prior_nu, horizon)
    click.echo(printing.prior(chosen))
    log_T, log_t = chosen.log_horizon(), chosen.log_marginal()
    with rc_context(plots.STYLE):
        plots.save_figure(plots.prior_figure(prior_nu, log_T.numpy(), log_t.numpy()), out)
    click.echo(f"\nfigure: {out}")


@cli.command("list")
def list_() -> None:
    """Name every family, rule, halting posterior, objective, estimator and stop rule."""
    import probact.stopping  # noqa: F401 - fills STOP_RULES

    for title, registry in (
        ("families (--family)", FAMILIES),
        ("rules (--rule)", RULES),
        ("halting posteriors (--halting)", POSTERIORS),
        ("objectives (--objective)", OBJECTIVES),
        ("estimators of the ELBO (--estimator)", ESTIMATORS),
        ("stop rules (evaluate)", STOP_RULES),
    ):
        click.echo(click.style(title, bold=True))
        for name in registry:
            click.echo(f"  {name:16}{registry.describe(name)}")
            recommended = getattr(registry[name], "recommended", {})
            if recommended:
                settings = ", ".join(f"{key.replace('_', '-')} {value}" for key, value in recommended.items())
                click.echo(f"  {'':16}recommends {settings}")
        if registry is POSTERIORS:
            click.echo(f"  {NO_HALTING:16}No halting: learning to optimize alone, by the sum of losses.")
        click.echo()
