"""Draw every figure of the project to ``docs/images`` and write ``docs/gallery.md``.

    python docs/draw_gallery.py FOLDER    # makes in FOLDER what is missing there (15 minutes), then draws
    python docs/draw_gallery.py --check   # draws nothing; exit code 1 if page or images are not as they should be

FOLDER holds what the commands in ``MADE`` write: a run of two seeds, a sweep, an evaluation.  Other figures come from
``benchmarks/results``.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the package of this checkout, and what its pages are made of
PAGE, IMAGES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "images"
LARGEST = 2_500_000
"""Bytes of all images."""
FIT = "fit --family regression --prior-nu 0.9 --horizon 40 --meta-steps 300"
MADE = {
    "run/posterior.nc": f"{FIT} --chains 2 --out run",
    "sweep/results.json": f"sweep --prior-nu .8,.9 --seed 0 {FIT.partition(' ')[2].replace('--prior-nu 0.9 ', '')} "
    "--meta-steps 60 --jobs 1 --out sweep",
    "evaluation/evaluation.nc": "evaluate run --num-optimizees 500 --out evaluation",
    "run/figures/evidence_curve.png": "halt-stats --evidence-curve run",
    "comparison/comparison.png": "compare sweep/prior-nu=0.8 sweep/prior-nu=0.9 --out comparison",
}


class Entry(NamedTuple):
    """A figure of the gallery: its file, what it is called there, and the command that draws it."""

    name: str
    title: str
    command: str
    file: str = ""

    @property
    def image(self) -> str:
        return self.file or f"gallery_{self.name}.png"


PARTS: dict[str, tuple[Entry, ...]] = {
    "What `fit` draws, and `plot` again": (
        Entry("halting_heat_map", "Halting of all problems", "fit"),
        Entry("halting_by_problem", "Problem by problem", "fit"),
        Entry("stop_and_regret", "The stop, and what it loses", "fit"),
        Entry("gaps_and_calibration", "Gaps and calibration", "fit"),
        Entry("learning_curve", "How training went", "fit"),
        Entry("arviz_forest", "A forest of problems", "fit"),
    ),
    "ArviZ's own plots": (
        Entry("arviz_trace", "Trace", "plot --arviz RUN"),
        Entry("arviz_rank", "Ranks", "plot --arviz RUN"),
        Entry("arviz_posterior", "Posterior of t", "plot --arviz RUN"),
        Entry("arviz_predictive", "Posterior predictive check", "plot --arviz RUN"),
    ),
    "Priors": (
        Entry("prior", "A prior and its price", "prior --prior-nu 0.95"),
        Entry("evidence_curve", "The evidence of nu", "halt-stats --evidence-curve RUN"),
    ),
    "Runs side by side": (
        Entry("learning_curves", "Beside tuned baselines", "evaluate RUN"),
        Entry("calibration", "As a forecast", "evaluate RUN"),
        Entry("steps_against_loss", "Steps against loss", "evaluate RUN", "steps_against_loss.png"),
        Entry("comparison", "Two runs on the same problems", "compare RUN RUN"),
        Entry("sweep", "A grid of runs", "sweep --prior-nu .8,.9"),
    ),
    "The monitor, and real training curves": (
        Entry("monitor", "What a monitor saw", "HaltingMonitor.plot()"),
        Entry("regret_by_price", "Ways to stop, by price", "evaluate --curves DIR", "stop_regret_by_price.png"),
        Entry("regret_by_data_set", "Ways to stop, by kind", "evaluate --curves DIR", "stop_regret_by_data_set.png"),
        Entry("forecasts", "Forecasts", "evaluate --curves DIR", "stop_forecasts.png"),
    ),
    "Searches and computations": (
        Entry("found_rules", "Controllers that write rules", "benchmarks/found_rules.py figure", "found_rules.png"),
        Entry("steps_by_nonzeros", "Halting of a computation", "benchmarks/loops_tables.py", "steps_by_nonzeros.png"),
        Entry("calibration_of_inference", "Inference against itself", "benchmarks/calibration.py --redraw"),
    ),
}  # fmt: skip
HEAD = """# Gallery

Made by `python docs/draw_gallery.py`; not to be edited. Every figure of the project, how to read it, and the command
that draws it. RUN is a run's folder. `plot --style dark --format svg RUN` draws a run's figures for a dark page.

A colour stands for the same thing everywhere: {roles}; the best step in hindsight is in the colour of the text.
Where a figure compares runs, families or rules, the colours count them.
All pairs can be told apart with red-green colour blindness (they are in `probact/support/palette.py`).

Those of one run are of {fit}: two seeds of five minutes each, on linear regressions.
"""


def page() -> str:
    """The text of the gallery."""
    from probact.reports.figure_guide import SHOWS
    from probact.support.palette import ROLES, STYLES

    colors = STYLES["light"]["axes.prop_cycle"].by_key()["color"]
    roles = ", ".join(f"{role} `{colors[int(key[1:])]}`" for role, key in ROLES.items())
    lines = [HEAD.format(roles=roles, fit=f"`{FIT} --chains 2`")]
    for part, entries in PARTS.items():
        lines.append(f"## {part}\n")
        for entry in entries:
            written_by = entry.command if entry.command.endswith(("()",)) else f"python {_program(entry.command)}"
            lines += [f"### {entry.title}\n", f"![{entry.title}](images/{entry.image})\n"]
            lines += [f"{SHOWS[entry.name][0].upper()}{SHOWS[entry.name][1:]} *Drawn by* `{written_by}`.\n"]
    return "\n".join(lines)


def _program(command: str) -> str:
    return command if command.startswith("benchmarks/") else f"cli.py {command}"


def draw(folder: Path) -> Iterator[tuple[str, object]]:
    """Names and figures, from what ``MADE`` is about and from ``benchmarks/results``."""
    import calibration as of_inference
    import found_rules_tables
    import loops_tables
    from pages import read, read_evaluation

    from probact import HaltingMonitor
    from probact.judging.curves.results import CurvesEvaluation
    from probact.reports import arviz_plots, evaluation_figures, halting_figures, posterior_file
    from probact.reports.curves_figures import draw_all as draw_curves
    from probact.reports.prior_figure import prior_figure
    from probact.reports.training_figures import learning_curve
    from probact.runs.experiment import Experiment
    from probact.runs.run import Run

    run, tree = Run.open(folder / "run"), posterior_file.load(folder / "run" / "posterior.nc")
    for name in halting_figures.drawable(tree):
        yield name, halting_figures.FIGURES[name](tree)
    yield "learning_curve", learning_curve(run.records(), tree)
    for name in arviz_plots.drawable(tree):
        yield name, arviz_plots.PLOTS[name](tree)
    prior = Experiment().build_prior()
    yield "prior", prior_figure(0.95, prior.log_horizon().numpy(), prior.log_marginal().numpy(), prior.label)
    yield "steps_against_loss", evaluation_figures.steps_against_loss(read_evaluation("stopping-mixed"))
    losses = 0.3 + 2 * 0.9 ** np.arange(60) + 0.02 * np.random.default_rng(0).normal(size=60)
    monitor = HaltingMonitor(0.003)
    for loss in losses:
        monitor.update(float(loss))
        if monitor.should_stop():
            break
    yield "monitor", monitor.plot()
    yield "calibration_of_inference", of_inference.draw(read("calibration"))
    found_rules_tables.figure()
    loops_tables.draw()
    judged = CurvesEvaluation.from_json((ROOT / "benchmarks/results/curves-verdict.json").read_text())
    with tempfile.TemporaryDirectory() as place:
        for path in draw_curves(judged, Path(place)):
            (IMAGES / f"stop_{path.name}").write_bytes(path.read_bytes())


def copied(folder: Path) -> dict[str, Path]:
    """Figures that a command itself has drawn."""
    return {
        "evidence_curve": folder / "run/figures/evidence_curve.png",
        "learning_curves": folder / "evaluation/figures/learning_curves.png",
        "calibration": folder / "evaluation/figures/calibration.png",
        "comparison": folder / "comparison/comparison.png",
        "sweep": folder / "sweep/sweep.png",
    }


def faults() -> Iterator[str]:
    """What is wrong with page and images."""
    if not PAGE.exists() or PAGE.read_text() != page():
        yield f"{PAGE.name} is stale"
    files = [entry.image for entries in PARTS.values() for entry in entries]
    yield from (f"{name} is missing" for name in files if not (IMAGES / name).exists())
    if (size := sum(path.stat().st_size for path in IMAGES.iterdir())) > LARGEST:
        yield f"images: {size:,} bytes, more than {LARGEST:,}"


def with_fewer_colours(path: Path) -> None:
    """Rewrite it with 128 colours, in a third of the bytes."""
    image = Image.open(path).convert("RGB")
    image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def main(folder: Path) -> None:
    from probact.reports.style import save_figure, styled

    for made, command in MADE.items():
        if not (folder / made).exists():
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, str(ROOT / "cli.py"), *shlex.split(command)], cwd=folder, check=True)
    files = {entry.name: IMAGES / entry.image for entries in PARTS.values() for entry in entries}
    with styled():
        for name, figure in draw(folder):
            save_figure(figure, files[name])
    for name, path in copied(folder).items():
        files[name].write_bytes(path.read_bytes())
    for path in files.values():
        with_fewer_colours(path)
    PAGE.write_text(page())


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        found = [*faults()]
        sys.exit("\n".join(found) if found else 0)
    main(Path(sys.argv[1]))
