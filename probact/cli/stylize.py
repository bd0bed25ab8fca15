"""``stylize``: one picture in the style of another, by an optimizer that knows when to stop."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
import torch
from click.core import ParameterSource

from probact.cli.options import Declared, Place, threads_option
from probact.inference.posteriors.base import HaltingPosterior
from probact.inference.price import price_of
from probact.problems.style.family import check_features, check_size
from probact.problems.style.features import NETWORKS
from probact.problems.style.images import Picture, fitted, picture
from probact.problems.style.loss import StyleTransfer
from probact.rules.base import RULES, UpdateRule
from probact.rules.hand_designed import hand_designed
from probact.runs.settings import Setting
from probact.stopping.base import StopRule
from probact.stopping.rules import HAZARD_SHARE, Budget, Hazard

ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP"}
SCALE = 0.039
"""s for a rule that knows no price."""
RATES = {"random": {"adam": 0.05, "lbfgs": 0.3}, "lite0": {"adam": 0.02, "lbfgs": 0.1}}
"""Of each network rates that did well after 20 steps on a few crops of a photograph."""


class Chosen(NamedTuple):
    """What moves the pixels.

    :ivar stop: the stop rule, with the halting posterior that it follows, if it does.
    :ivar scale: s of the loss, at which a step costs what is asked for.
    """

    rule: UpdateRule
    stop: StopRule
    posterior: HaltingPosterior | None
    scale: float


@click.command()
@click.argument("content")
@click.argument("style")
@click.option(
    "--optimizer",
    default="adam",
    show_default=True,
    help="A run's folder, a file of `export` or a shipped optimizer, which `list` names: each with its learned stop; "
    "or a rule with a rate, such as adam or lbfgs, which makes all steps.",
)
@click.option(
    "--price",
    type=Declared(Setting(0.002, above=0)),
    default=0.002,
    show_default=True,
    help="What a step costs, in units of the loss: the learned stop weighs it.",
)
@click.option("--steps", type=click.IntRange(1, 100_000), default=128, show_default=True, help="Steps at most.")
@click.option("--size", type=int, default=64, show_default=True, help="Pixels of the shorter side, a multiple of 8.")
@click.option(
    "--features", default="lite0", show_default=True, help=f"What compares pictures: {' or '.join(NETWORKS)}."
)
@click.option(
    "--rate", type=Declared(Setting(1.0, above=0)), help="Learning rate of a rule with one.  [default: tuned]"
)
@threads_option
@click.option("--out", type=Place(), required=True, help="The picture to write, such as out.png.")
@click.option("--force", is_flag=True, help="Write over a picture that is there.")
@click.pass_context
def stylize(
    context: click.Context,
    /,
    content: str,
    style: str,
    optimizer: str,
    price: float,
    steps: int,
    size: int,
    features: str,
    rate: float | None,
    threads: int | None,
    out: Path,
    force: bool,
) -> None:
    """Paint CONTENT in the style of STYLE, and stop where another step is not worth its price.

    Both are files, or pictures that packages bring, such as china, flower, brick or grass.  They may have any shape:
    both are made smaller or larger to --size pixels on the shorter side.  The pixels begin as those of CONTENT, and
    are brought back to [0, 1] in the file alone.
    """
    from probact.support.threads import use_threads

    check_size("--size", size)
    check_features("--features", features)
    _check_out(out, force)
    chosen = _chosen(optimizer, features, price, steps, rate)
    if chosen.posterior is None and context.get_parameter_source("price") is ParameterSource.COMMANDLINE:
        click.echo(f"--price: {optimizer} has no learned stop that weighs it, and stops by {chosen.stop.describe()}")
    pictures = [picture(content), picture(style)]
    network = NETWORKS[features]()
    made = [fitted(one.pixels, size) for one in pictures]
    for name, one, small in zip((content, style), pictures, made, strict=True):
        click.echo(_described(name, one, small))
    problem = StyleTransfer.of(made[0][None], [made[1]], network, chosen.scale)
    use_threads(made[0].numel(), threads)
    _paint(problem, chosen, steps, out)


def _check_out(out: Path, force: bool) -> None:
    from probact.support.files import check_writable

    if out.suffix.lower() not in ENDINGS:
        raise click.UsageError(f"--out {out}: expected a name that ends in {', '.join(ENDINGS)}")
    if out.is_dir():
        raise click.UsageError(f"--out {out}: expected a file, got a folder")
    if out.exists() and not force:
        raise click.UsageError(f"--out {out}: it is there already: expected another name, or --force to write over it")
    check_writable(out)


def _chosen(optimizer: str, features: str, price: float, steps: int, rate: float | None) -> Chosen:
    if optimizer in hand_designed():
        lr = rate or RATES[features].get(optimizer)
        rule = RULES.build(optimizer, {} if lr is None else {"lr": lr})
        return Chosen(rule, Budget(float(steps)), None, SCALE)
    from probact.cli.export import stop_asked_for
    from probact.runs.run import Run
    from probact.runs.sources import best_of, is_run
    from probact.support.files import expanded

    if rate is not None:
        raise click.UsageError(f"--rate: expected a rule with a rate ({', '.join(hand_designed())}), got {optimizer}")
    one = best_of(optimizer)
    posterior = one.online_posterior
    if one.stop is None and posterior is not None and is_run(optimizer):
        click.echo("the run's own stop is tuned first, as `export --stop own` does, whose file keeps it")
        one = replace(one, stop=stop_asked_for("own", one, Run.open(expanded(optimizer)).best().experiment))
    stop = one.stop or (Budget(float(steps)) if posterior is None else Hazard(HAZARD_SHARE * (1 - one.nu)))
    return Chosen(one.worn_rule, stop, posterior, price / price_of(one.nu, one.kl_scale))


def _described(name: str, one: Picture, small: torch.Tensor) -> str:
    (height, width), (rows, columns) = one.pixels.shape[1:], small.shape[1:]
    changed = f", {one.changed}" if one.changed else ""
    return f"{name}: {width} x {height} pixels, taken as {columns} x {rows}{changed}"


def _paint(problem: StyleTransfer, chosen: Chosen, steps: int, out: Path) -> None:
    from probact.stopping.online import run_until_stopped

    stopped = run_until_stopped(chosen.rule, problem, steps, chosen.stop, chosen.posterior)
    if not bool(stopped.nll.isfinite()):
        raise click.ClickException(
            f"{chosen.rule.label}: the loss was lost: expected a smaller --rate; nothing written"
        )
    begun, ended = (float(problem.picture_loss(at)) for at in (problem.theta0, stopped.params))
    terms = [float(term) for term in problem.terms(stopped.params)]
    _write(stopped.params["pixels"][0], out)
    why = f"stopped by {chosen.stop.describe()}" if int(stopped.step) < steps else "made all steps"
    click.echo(
        f"{out}: {int(stopped.step)} of {steps} steps, {why}; loss {begun:.4g} -> {ended:.4g} "
        f"(content {terms[0]:.3g}, style {terms[1]:.3g}, roughness {terms[2]:.3g})"
    )


def _write(pixels: torch.Tensor, out: Path) -> None:
    """``pixels (3, height, width)``, brought back to [0, 1]."""
    from PIL import Image

    from probact.support.files import write_atomically

    array = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    content = io.BytesIO()
    Image.fromarray(array).save(content, ENDINGS[out.suffix.lower()])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, content.getvalue())
