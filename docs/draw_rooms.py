"""Draw the rooms from the import contract in pyproject.toml and from the imports that are really there.

    python docs/draw_rooms.py            # writes docs/images/rooms.svg and the tables between <!-- rooms --> marks
    python docs/draw_rooms.py --check    # writes nothing; exit code 1 if one of them is stale

Needs ``grimp``, which comes with ``pip install -e '.[lint]'``.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

try:
    import grimp
except ImportError:
    sys.exit("Error: grimp is not installed: python -m pip install -e '.[lint]'")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package of this checkout
PACKAGE = "probact"
PICTURE = ROOT / "docs" / "images" / "rooms.svg"

WORDS = {  # room: (what enters, what leaves)
    "cli": ("a command line", "calls of the other rooms, printed text"),
    "testing": ("a part of your own", "nothing, or what it breaks"),
    "reports": ("results and runs", "posterior.nc, figures, tables, cards"),
    "curves": ("data sets, model kinds, a seed", "training curves, one file a data set"),
    "monitoring": ("validation losses, look by look; a price", "stop or go on, what going on would bring"),
    "integrations": ("another library's training loop, a price", "its callback: stop, put the best back"),
    "drop_in": ("a trained optimizer, your parameters", "a torch.optim.Optimizer"),
    "judging": ("optimizers, held-out problems", "losses, stops, calibration"),
    "training": ("an Experiment", "better weights, checkpoints"),
    "runs": ("settings, a run's folder, a file", "Experiment, Objective, trained weights"),
    "searching": ("a search, your box and values", "points to ask, stop or go on"),
    "rule_search": ("a controller, a child, a number of rules", "formulas of rules and their rewards"),
    "stopping": ("what is known at step s", "stop or go on"),
    "inference": ("a Rollout, nu, H", "q(t|x,T), exact posterior, bound, gaps"),
    "unrolling": ("a rule, problems", "Rollout: losses, features, parameters"),
    "problems": ("a family's name, options, data", "Optimizee: L problems with their loss"),
    "rules": ("gradient, loss, memory at step t", "Step: update, next memory, features"),
    "support": ("keys, tensors, bytes", "random streams, files, registries"),
}

WIDTH, MARGIN = 1400, 16
BOX, TALL, GAP = 296, 68, 40  # a room's width and height, and what is left between two rows
CLEAR, BEND = 12, 24  # what an arrow keeps from a room or another arrow that it passes, and how far it bends

STYLE = """
    text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Arial, sans-serif; fill: #1f2328; }
    .name { font-size: 17px; font-weight: 600; }
    .words { font-size: 12.5px; }
    .label { font-size: 12.5px; fill: #59636e; }
    .room { fill: #eef4fb; stroke: #4a7ebb; stroke-width: 1.3; }
    .arrow { fill: none; stroke: #6b7785; stroke-width: 1.6; }
    .head { fill: #6b7785; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .label { fill: #9aa4af; }
      .room { fill: #16243a; stroke: #5b8fd0; }
      .arrow { stroke: #8b98a6; }
      .head { fill: #8b98a6; }
    }
"""

Edge = tuple[str, str]
Point = tuple[float, float]


class Place(NamedTuple):
    """A room's row in the contract and the left edge of its box."""

    row: int
    left: float

    @property
    def middle(self) -> float:
        return self.left + BOX / 2

    @property
    def top(self) -> float:
        return MARGIN + self.row * (TALL + GAP)

    @property
    def bottom(self) -> float:
        return self.top + TALL


def contract() -> list[list[str]]:
    """The rows of the layers contract, the highest first."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = [one["layers"] for one in contracts if one["type"] == "layers"]
    return [[room.strip() for room in row.split("|")] for row in layers]


def imports(rooms: Iterable[str]) -> set[Edge]:
    """Every pair (room, another room that it imports)."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    inside = {room: f"{PACKAGE}.{room}" for room in rooms}
    return {
        (one, other)
        for one in inside
        for other in inside
        if one != other and graph.direct_import_exists(importer=inside[one], imported=inside[other], as_packages=True)
    }


def direct(edges: set[Edge]) -> set[Edge]:
    """The edges that no longer way implies."""
    after: dict[str, set[str]] = {}
    for one, other in edges:
        after.setdefault(one, set()).add(other)

    def reach(room: str) -> set[str]:
        return {room}.union(*map(reach, after.get(room, ())))

    return {(a, b) for a, b in edges if not any(b in reach(middle) for middle in after[a] - {b})}


def places(rows: Sequence[Sequence[str]]) -> dict[str, Place]:
    found = {}
    for row, rooms in enumerate(rows):
        free = (WIDTH - len(rooms) * BOX) / (len(rooms) + 1)
        found.update({room: Place(row, free + index * (BOX + free)) for index, room in enumerate(rooms)})
    return found


def lane(edge: Edge, where: dict[str, Place], taken: list[float]) -> float | None:
    """Where an arrow passes the rows between its rooms, or None if there are none."""
    start, end = where[edge[0]], where[edge[1]]
    passed = [place for place in where.values() if start.row < place.row < end.row]
    if not passed:
        return None
    free = [
        x
        for x in range(CLEAR, WIDTH - CLEAR, 2)
        if all(not place.left - CLEAR < x < place.left + BOX + CLEAR for place in passed)
        and all(abs(x - other) >= CLEAR for other in taken)
    ]
    taken.append(min(free, key=lambda x: (abs(x - start.middle) + abs(x - end.middle), abs(x - end.middle))))
    return taken[-1]


def ports(edges: Sequence[Edge], lanes: dict[Edge, float | None], where: dict[str, Place]) -> dict[Edge, list[float]]:
    """Where each arrow leaves its room and enters the other, side by side in the order of where it comes from."""
    found: dict[Edge, list[float]] = {edge: [0.0, 0.0] for edge in edges}
    for end in (0, 1):
        for room, place in where.items():
            own = [edge for edge in edges if edge[end] == room]
            own.sort(key=lambda edge: lanes[edge] or where[edge[1 - end]].middle)
            for index, edge in enumerate(own):
                found[edge][end] = place.left + BOX * (index + 1) / (len(own) + 1)
    return found


def arrow(start: Point, end: Point, by: float | None) -> str:
    """A path down from ``start`` to ``end``; on the lane ``by`` past the rows between."""
    (x, y), (to, down) = start, end
    tip = down - 8
    way = f"M{x:g} {y:g} C{x:g} {y + BEND:g}"
    if by is not None:
        last = down - GAP
        way += f" {by:g} {y + GAP - BEND:g} {by:g} {y + GAP:g} V{last:g} C{by:g} {last + BEND:g}"
    return (
        f'  <path class="arrow" d="{way} {to:g} {tip - BEND:g} {to:g} {tip:g}"/>\n'
        f'  <path class="head" d="M{to - 5:g} {tip - 2:g} h10 l-5 10 z"/>'
    )


def picture(rows: Sequence[Sequence[str]], edges: set[Edge]) -> str:
    where = places(rows)
    drawn = sorted(direct(edges), key=lambda edge: (where[edge[0]], where[edge[1]]))
    taken: list[float] = []
    lanes = {edge: lane(edge, where, taken) for edge in drawn}
    doors = ports(drawn, lanes, where)
    height = MARGIN + len(rows) * (TALL + GAP) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        'aria-label="The rooms of probact, and which imports which">',
        f"  <style>{STYLE}  </style>",
    ]
    for edge in drawn:
        start, end = where[edge[0]], where[edge[1]]
        leaves, enters = doors[edge]
        lines.append(arrow((leaves, start.bottom), (enters, end.top), lanes[edge]))
    for room, place in where.items():
        enters, leaves = WORDS[room]
        lines += [
            f'  <rect class="room" x="{place.left:g}" y="{place.top:g}" width="{BOX}" height="{TALL}" rx="8"/>',
            f'  <text class="name" x="{place.left + 14:g}" y="{place.top + 22:g}">{room}</text>',
            f'  <text class="words" x="{place.left + 14:g}" y="{place.top + 41:g}">in: {enters}</text>',
            f'  <text class="words" x="{place.left + 14:g}" y="{place.top + 58:g}">out: {leaves}</text>',
        ]
    lines += [
        f'  <text class="label" x="{MARGIN}" y="{height - 14:g}">An arrow reads "imports". What a longer way '
        "implies is left out. Rooms of one row do not know each other.</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *escaped))


def page(path: Path, content: str) -> str:
    """The page with ``content`` between its marks."""
    marks = re.compile(r"(<!-- rooms -->\n).*?(<!-- /rooms -->)", re.DOTALL)
    found, times = marks.subn(lambda mark: f"{mark[1]}{content}\n{mark[2]}", path.read_text())
    if times != 1:
        raise SystemExit(f"Error: {path.name}: expected one pair of marks <!-- rooms -->, got {times}")
    return found


def documents() -> dict[Path, str]:
    """All that is made from the contract and the imports: file -> content."""
    rows = contract()
    rooms = [room for row in rows for room in row]
    if set(rooms) != set(WORDS):
        raise SystemExit(f"Error: the contract and WORDS differ in: {', '.join(sorted(set(rooms) ^ set(WORDS)))}")
    edges = imports(rooms)
    entered = table(("room", "enters", "leaves"), ((f"`{room}`", *WORDS[room]) for room in rooms))
    imported = table(
        ("room", "imports"),
        ((f"`{a}`", ", ".join(f"`{b}`" for b in rooms if (a, b) in edges) or "no other room") for a in rooms),
    )
    return {
        PICTURE: picture(rows, edges),
        ROOT / "CONTRIBUTING.md": page(ROOT / "CONTRIBUTING.md", entered),
        ROOT / "docs" / "architecture.md": page(ROOT / "docs" / "architecture.md", imported),
    }


def main() -> None:
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit("Error: expected no argument, or --check")
    stale = {path: text for path, text in documents().items() if not path.exists() or path.read_text() != text}
    if sys.argv[1:]:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"Error: stale: {names}; write them by: python docs/draw_rooms.py" if stale else 0)
    for path, text in stale.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
