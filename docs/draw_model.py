"""Draw the model as Pyro sees it, from ``pyro.infer.inspect``: the sites, what depends on what, what is observed.

    python docs/draw_model.py            # writes docs/images/model.svg
    python docs/draw_model.py --check    # writes nothing; exit code 1 if the picture is stale

``pyro.render_model(act.model, (rollout,))`` draws the same where Graphviz is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from pyro.infer.inspect import generate_graph_specification, get_model_relations

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package of this checkout
PICTURE = ROOT / "docs" / "images" / "model.svg"

WORDS = {"T": "horizon, p(T)", "t": "halting step, p(t|T)", "x": "observations, p(x|θ_t)"}
STEP, RADIUS, TOP, HEIGHT = 210, 34, 70, 190
STYLE = """
    text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Arial, sans-serif; fill: #1f2328;
           text-anchor: middle; font-size: 13px; }
    .name { font-size: 20px; font-style: italic; }
    .site { fill: #ffffff; stroke: #4a7ebb; stroke-width: 1.6; }
    .observed { fill: #c9d8ea; }
    .plate { fill: none; stroke: #6b7785; stroke-width: 1.2; }
    .arrow { stroke: #6b7785; stroke-width: 1.6; }
    .head { fill: #6b7785; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .site { fill: #0d1117; }
      .observed { fill: #2b4468; }
    }
"""


def specification() -> dict[str, object]:
    """Nodes, edges and plates of ``ACT.model``."""
    from probact import ACT, FAMILIES, RULES, HaltingPosterior

    rule = RULES.build("lstm")
    act = ACT(rule, HaltingPosterior.of(rule, "truncated", nu=0.9), horizon=5)
    rollout = act.unroll(FAMILIES.build("regression").sample(3, torch.Generator().manual_seed(0)))
    found: dict[str, object] = generate_graph_specification(get_model_relations(act.model, (rollout,)))
    return found


def draw(graph: dict[str, object]) -> str:
    """As SVG, sites from left to right in the order of the program."""
    ((plate, names),) = ((plate, names) for plate, names in graph["plate_groups"].items() if names)  # type: ignore[attr-defined]
    at = {name: STEP // 2 + STEP * place for place, name in enumerate(names)}
    width = STEP * len(at)
    shapes = [f'<rect class="plate" x="8" y="8" width="{width - 16}" height="{HEIGHT - 16}" rx="8"/>']
    shapes.append(f'<text x="{width - 70}" y="{HEIGHT - 20}">{plate}</text>')
    for start, end in graph["edge_list"]:  # type: ignore[attr-defined]
        left, right = at[start] + RADIUS, at[end] - RADIUS
        shapes.append(f'<line class="arrow" x1="{left}" y1="{TOP}" x2="{right - 10}" y2="{TOP}"/>')
        shapes.append(f'<path class="head" d="M{right} {TOP} l-12 -6 v12 z"/>')
    for name, x in at.items():
        observed = " observed" if graph["node_data"][name]["is_observed"] else ""  # type: ignore[index]
        shapes.append(f'<circle class="site{observed}" cx="{x}" cy="{TOP}" r="{RADIUS}"/>')
        shapes.append(f'<text class="name" x="{x}" y="{TOP + 7}">{name}</text>')
        shapes.append(f'<text x="{x}" y="{TOP + RADIUS + 24}">{WORDS[name]}</text>')
    body = "\n  ".join(shapes)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" role="img">'
    return f"{head}\n  <title>The model: T, t and an observed x</title>\n  <style>{STYLE}  </style>\n  {body}\n</svg>\n"


def main() -> None:
    picture = draw(specification())
    if "--check" not in sys.argv:
        PICTURE.write_text(picture)
    elif not PICTURE.exists() or PICTURE.read_text() != picture:
        sys.exit("Error: stale: docs/images/model.svg; write it by: python docs/draw_model.py")


if __name__ == "__main__":
    main()
