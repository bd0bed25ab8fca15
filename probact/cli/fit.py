"""``fit``: meta-train an optimizer and its halting posterior."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from probact.cli.advice import command
from probact.cli.options import check_device, choice, data_directory_option, key_values, read_config, setting
from probact.cli.progress import progress
from probact.inference.objectives.base import OBJECTIVES
from probact.inference.objectives.estimators import ESTIMATORS
from probact.inference.posteriors.base import NO_HALTING, POSTERIORS
from probact.problems.base import FAMILIES
from probact.reports import text
from probact.rules.base import RULES
from probact.runs.experiment import GRADIENTS, Experiment
from probact.support.interrupts import asked_to_stop
from probact.support.ranks import ProcessLostError, Ranks

if TYPE_CHECKING:
    from probact.runs.run import Chain, Run
    from probact.runs.trained import TrainedOptimizer


@click.command()
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
@click.option(
    "--safeguard/--no-safeguard",
    default=None,
    help="Let the rule go back to its best iterate, with shorter steps, when the loss gets lost.  [default: no]",
)
@setting(
    "begin_with",
    str,
    "Begin with a trained optimizer: a run's folder (its best weights), a file of `export`, or a shipped one.",
)
@click.option(
    "--freeze-rule/--train-rule",
    default=None,
    help="Keep the weights that it began with, and learn only when to stop.  [default: train]",
)
@setting("halting", choice(POSTERIORS, NO_HALTING), "Halting posterior q(t|x,T); `none` learns to optimize only.")
@setting("objective", choice(OBJECTIVES), "What training minimises.  [default: the halting posterior's own]")
@setting("log_loss_weight", float, "Weight of the mean log loss added to it, which teaches every step alike.")
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
@setting(
    "random_scaling", float, "Spread of the log of random factors on the coordinates of training problems; 0: none."
)
@setting("lr", float, "Meta learning rate, falling to 0 on a cosine.")
@setting("clip", float, "Largest norm of the meta-gradient.")
@setting("imitate", choice(RULES), "Hand-designed rule that the learned one imitates at first.")
@setting("imitation_weight", float, "What imitation counts at the first meta-step, falling to 0.")
@setting("imitation_steps", int, "Meta-steps until then.")
@setting("imitation_lr", float, "The teacher's learning rate; 0: the one tuned for step H.")
@setting("curriculum", int, "Meta-steps over which the unrolls of training grow from H/10 to H steps.")
@setting("gradient", click.Choice(GRADIENTS), "Of the rule's weights: by backpropagation, or by evolution strategies.")
@setting("pes_sigma", float, "Standard deviation of their perturbations; --batch is the number of pairs.")
@setting("truncate", int, "Steps of truncated backpropagation, or between perturbations; 0: all.")
@click.option(
    "--through-path/--cut-path",
    default=None,
    help="Backpropagate through the path of the parameters, or cut it at every step.  [default: cut]",
)
@click.option(
    "--by-segment/--by-unroll",
    default=None,
    help="Update the weights after each segment of truncated backpropagation, or once an unroll.  [default: unroll]",
)
@click.option(
    "--recompute/--keep-graph",
    default=None,
    help="Work every step out twice in place of keeping its graph: memory that does not grow with H, for a forward "
    "pass more.  [default: keep]",
)
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=None,
    help="Fuse steps by torch.compile, which takes half a minute first: for long trainings of small problems.  "
    "[default: no]",
)
@setting("validate_every", int, "Meta-steps between validations; the best weights are kept.")
@setting("validation_problems", int, "Problems of the fixed validation set.")
@setting("test_problems", int, "Held-out problems of the summary and of posterior.nc.")
@key_values("family-option", "Option of the family.")
@key_values("rule-option", "Option of the rule.")
@key_values("objective-option", "Option of the objective, if it has any of its own.")
@click.option(
    "--seed",
    "seeds",
    type=click.IntRange(min=0),
    multiple=True,
    help="Seed; repeat it for several chains.  [default: 0]",
)
@click.option("--chains", type=click.IntRange(min=1), help="This many chains, seeds counted up from --seed.")
@data_directory_option
@setting("device", str, "cpu or cuda.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/<names>-<time>]")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Chains trained at once, a process each."
)
@click.option("--resume", type=click.Path(path_type=Path), help="Continue this run; takes no other option but --jobs.")
@click.pass_context
def fit(
    context: click.Context,
    /,
    seeds: tuple[int, ...],
    chains: int | None,
    out: Path | None,
    jobs: int,
    resume: Path | None,
    **given: Any,
) -> None:
    """Meta-train an optimizer and its halting posterior, then report.

    Writes experiment.json, checkpoint.pt, metrics.jsonl, posterior.nc, summary.json and figures/*.png to the run's
    folder.  Ctrl-C saves; --resume continues, also after a crash, to the same weights bit for bit.

    Defaults stand in brackets; a family may recommend its own, which `list` shows.
    """
    from probact.reports.run_report import report

    ranks: Ranks = context.obj or Ranks()
    if jobs > 1 and not ranks.alone:
        raise click.UsageError("expected --jobs or torchrun, got both: under torchrun all processes train one chain")
    run = _created(given, seeds, chains, out, ranks) if resume is None else _continued(context, resume)
    settings = run.experiment
    ranks.use_device(settings.device)
    click.echo(
        f"run {run.folder}: family {settings.family}, rule {settings.rule}, halting {settings.halting}, "
        f"nu {settings.prior_nu:g}, {settings.meta_steps} meta-steps of {settings.batch} problems, H {settings.horizon}"
    )
    _train(run, min(jobs, len(run.chains)), ranks)
    ranks.dismiss()
    summary = report(run)
    click.echo(f"\n{text.loss_table(summary)}\n")
    click.echo(text.halting_table(summary, settings.prior_nu, settings.halting, settings.horizon))
    click.echo(f"\nwritten to {run.folder}: posterior.nc, summary.json, {len(list(run.figures.iterdir()))} figures")
    click.echo(f"next: {command('halt-stats', run.folder)}")


def _continued(context: click.Context, folder: Path) -> Run:
    from probact.runs.run import Run

    given = [n for n in context.params if context.get_parameter_source(n) is not ParameterSource.DEFAULT]
    if others := sorted({*given} - {"resume", "jobs"}):
        raise click.UsageError(f"--resume takes its settings from {folder}/experiment.json: drop {', '.join(others)}")
    run = Run.open(folder)
    run.mark_latest()
    return run


def _created(given: dict[str, Any], seeds: tuple[int, ...], chains: int | None, out: Path | None, ranks: Ranks) -> Run:
    from probact.judging.tuning import with_tuned_rate
    from probact.runs.run import Run, new_folder
    from probact.training.loop import check

    experiment, source = asked_for(given)
    check_device(experiment.device)
    ranks.use_device(experiment.device)
    tuned = with_tuned_rate(experiment)
    if tuned.rule_options != experiment.rule_options:
        click.echo(f"{tuned.rule}: learning rate {tuned.rule_options['lr']:g}, tuned for step {tuned.horizon}")
    if tuned.imitation_lr != experiment.imitation_lr:
        click.echo(f"teacher {tuned.imitate}: learning rate {tuned.imitation_lr:g}, tuned for step {tuned.horizon}")
    check(tuned, ranks.num_ranks)
    return Run.create(out or new_folder(tuned), tuned, _seeds(seeds, chains), source)


def asked_for(given: dict[str, Any]) -> tuple[Experiment, TrainedOptimizer | None]:
    """The experiment that the options ask for, and what it begins with.

    Rule and rule options are that one's, and so is the safeguard unless it is asked for or declined.
    """
    chosen = {name: value for name, value in given.items() if value not in (None, {})}
    if "begin_with" not in chosen:
        return Experiment.create(**chosen), None
    from probact.runs.sources import best_of

    source, text = best_of(chosen["begin_with"]), chosen["begin_with"]
    if chosen.get("rule", source.rule.name) != source.rule.name:
        raise click.UsageError(f"--rule {chosen['rule']}: expected {source.rule.name}, the rule of {text}")
    if "rule_options" in chosen:
        raise click.UsageError(f"--rule-option: {text} has its own: drop {', '.join(chosen['rule_options'])}")
    chosen = {"safeguard": source.safeguard, **chosen, "rule": source.rule.name, "rule_options": dict(source.options)}
    return Experiment.create(**chosen), source


def command_line(experiment: Experiment) -> str:
    """The ``fit`` that makes ``experiment``, with the settings that neither a default nor the family says."""
    options = {option.name: option for option in fit.params}
    given = experiment.given()
    if experiment.begin_with:
        of_source = ("rule", "rule_options", "safeguard")
        given = {name: value for name, value in given.items() if name not in of_source}
        given["safeguard"] = experiment.safeguard
    words = ["python", "cli.py", "fit"]
    for name, value in given.items():
        option = options["seeds" if name == "seed" else name]
        if isinstance(value, bool):
            words += option.opts if value else option.secondary_opts
        elif isinstance(value, Mapping):
            words += [word for key, entry in value.items() for word in (option.opts[0], f"{key}={_text(entry)}")]
        else:
            words += [option.opts[0], str(value)]
    return shlex.join(words)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _seeds(seeds: tuple[int, ...], chains: int | None) -> tuple[int, ...]:
    seeds = seeds or (0,)
    if len(set(seeds)) < len(seeds):
        raise click.UsageError(f"expected different seeds, got {', '.join(map(str, seeds))}")
    if chains is None:
        return seeds
    if len(seeds) > 1:
        raise click.UsageError("expected --chains or a repeated --seed, got both")
    return tuple(range(seeds[0], seeds[0] + chains))


def _train(run: Run, jobs: int, ranks: Ranks) -> None:
    """Train every chain; when that ends early, say how to continue."""
    again = f"continue with: {command('fit', '--resume', run.folder)}"
    try:
        with asked_to_stop(patient=not ranks.alone) as asked:
            ranks.asked = asked
            finished = _train_chains(run.chains, jobs, ranks, asked)
    except ProcessLostError:
        click.echo(f"Error: a process of this run was lost; saved; {again}", err=True)
        raise click.exceptions.Exit(1) from None
    if not finished:
        click.echo(f"interrupted and saved; {again}", err=True)
        ranks.dismiss()
        raise click.exceptions.Exit(130)


def _train_chains(chains: Sequence[Chain], jobs: int, ranks: Ranks, asked: Sequence[int]) -> bool:
    from probact.training.loop import train
    from probact.training.side_by_side import train_side_by_side

    if jobs > 1:
        return train_side_by_side(chains, jobs, partial(progress, bar=False), asked)
    for chain in chains:
        with progress(chain.experiment) as on_record:
            if not train(chain, on_record, ranks.should_stop, ranks):
                return False
    return True
