"""Faults drawn at random in the code that results rest on: which of them do the tests see?

    python benchmarks/mutants.py --sample 60 --seed 0 --jobs 2

A mutant is one change of an operator, a constant, ``min`` or ``max``, or a statement that is left out.  Each is made in
a throwaway copy of the tree, where the tests of its room, the planted faults and the golden outputs run until one
fails; so does an unchanged copy for each room, which must pass.  Every verdict goes to
``benchmarks/results/mutants.json`` at once; what stands there is not tried again.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pages import RESULTS

from probact.support.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
CODE = {
    "inference": [
        "priors.py",
        "prior_parts.py",
        "steps.py",
        "observation.py",
        "exact.py",
        "posteriors/*.py",
        "objectives/*.py",
    ],
    "stopping": ["*.py"],
    "unrolling": ["*.py"],
    "rules": ["**/*.py"],
    "drop_in": ["*.py"],
    "runs": ["run.py", "trained.py"],
    "support": ["checksums.py", "files.py", "tensor_files.py"],
}
"""Room -> what is mutated of it."""
GOLDEN = ("tests/planted", "tests/runs/test_shipped.py", "tests/runs/test_older_files.py")

PAIRS = [(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)]
PAIRS += [(ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr)]
SWAPS = dict(PAIRS) | {there: here for here, there in PAIRS} | {ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult}
NAMES = {"min": "max", "minimum": "maximum", "clamp_min": "clamp_max", "any": "all", "amin": "amax", "argmin": "argmax"}
NAMES |= {there: here for here, there in NAMES.items()}


class Mutant(NamedTuple):
    """``path`` with its characters ``start:end`` replaced by ``after``; without a path nothing is changed."""

    room: str
    path: str = ""
    place: str = ""
    start: int = 0
    end: int = 0
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.place}: {self.before} -> {self.after}" if self.path else f"{self.room}, unchanged"


def changed(node: ast.AST) -> Iterator[str]:
    """What may stand in place of ``node``."""
    match node:
        case ast.Compare(left, [op, *ops], rest) if type(op) in SWAPS:
            yield ast.unparse(ast.Compare(left, [SWAPS[type(op)](), *ops], rest))
        case ast.BinOp(left, op, right) if type(op) in SWAPS:
            yield ast.unparse(ast.BinOp(left, SWAPS[type(op)](), right))
        case ast.BoolOp(op, values):
            yield ast.unparse(ast.BoolOp(SWAPS[type(op)](), values))
        case ast.UnaryOp(ast.Not() | ast.USub() | ast.Invert(), operand):
            yield ast.unparse(operand)
        case ast.Constant(bool(value)):
            yield str(not value)
        case ast.Constant(int(value) | float(value)):
            yield repr(value + 1 if isinstance(value, int) else value * 2 or 1.0)
        case ast.Call(ast.Name(name), arguments, keywords) if name in NAMES:
            yield ast.unparse(ast.Call(ast.Name(NAMES[name]), arguments, keywords))
        case ast.Call(ast.Attribute(value, name), arguments, keywords) if name in NAMES:
            yield ast.unparse(ast.Call(ast.Attribute(value, NAMES[name]), arguments, keywords))
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield "pass"


def told(node: ast.AST) -> Iterator[ast.AST]:
    """``node`` and all below it that runs and is more than words: no annotations, messages or decorators."""
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.Raise | ast.JoinedStr):
                    yield from told(child)


def mutants(room: str, path: Path) -> Iterator[Mutant]:
    """All of one file."""
    source = path.read_text()
    lines = source.splitlines(keepends=True)

    def offset(line: int, column: int) -> int:  # which ast counts in bytes
        return len("".join(lines[: line - 1])) + len(lines[line - 1].encode()[:column].decode())

    for node in told(ast.parse(source)):
        for after in changed(node):
            start, end = offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
            text = after if isinstance(node, ast.stmt) else f"({after})"
            place = f"{node.lineno}:{node.col_offset + 1}"
            yield Mutant(room, str(path.relative_to(ROOT)), place, start, end, source[start:end], text)


def verdict(mutant: Mutant, tree: Path, seconds: float) -> dict[str, str]:
    """How the tests of ``tree``, an unchanged copy, do with the mutant in it, and the first that fails."""
    source = (tree / mutant.path).read_text() if mutant.path else ""
    if mutant.path:
        (tree / mutant.path).write_text(source[: mutant.start] + mutant.after + source[mutant.end :])
    tests = [f"tests/{mutant.room}", *(["tests/runs"] if mutant.room == "support" else []), *GOLDEN]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"verdict": "timeout"}
    finally:
        if mutant.path:
            (tree / mutant.path).write_text(source)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {"verdict": "killed", "by": " ".join(failed)[:120]} if done.returncode else {"verdict": "survived"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("sample", 60), ("seed", 0), ("jobs", 2), ("timeout", 1200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    files = [(room, path) for room in CODE for glob in CODE[room] for path in (ROOT / "probact" / room).glob(glob)]
    every = [mutant for room, path in sorted(files) for mutant in mutants(room, path)]
    todo = random.Random(given.seed).sample(every, given.sample)
    todo += [Mutant(room) for room in sorted({mutant.room for mutant in todo})]
    file = RESULTS / "mutants.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    with TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.jobs):
            skipped = shutil.ignore_patterns(".*", "__pycache__", "runs-*", "*.egg-info")
            trees.put(Path(shutil.copytree(ROOT, Path(folder, str(number)), ignore=skipped)))

        def tried(mutant: Mutant) -> None:
            tree = trees.get()
            found[str(mutant)] = verdict(mutant, tree, given.timeout)
            trees.put(tree)
            write_atomically(file, json.dumps(found, indent=1) + "\n")
            print(f"{found[str(mutant)]['verdict']:8} {mutant}", flush=True)

        list(pool.map(tried, [mutant for mutant in todo if str(mutant) not in found]))
    verdicts = [found[str(mutant)]["verdict"] for mutant in todo if mutant.path]
    print(f"of {len(every)}: " + ", ".join(f"{verdicts.count(v)} {v}" for v in ("killed", "survived", "timeout")))
    broken = [str(mutant) for mutant in todo if not mutant.path and found[str(mutant)]["verdict"] != "survived"]
    print(*(f"worth nothing: {name} fails too" for name in broken), sep="\n")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
