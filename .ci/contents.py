"""What is in a wheel and an sdist: complete, small, without what is no part of the package.

python .ci/contents.py dist     # lists the largest; TAG=v1.2.3 in the environment has to be the version
"""

from __future__ import annotations

import os
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 2_000_000
"""Bytes of a wheel."""
LISTED = 12


def expected() -> set[str]:
    """Every file of the package, data too, as a wheel names it."""
    found = (path for path in (ROOT / "probact").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in found}


def faults_of_wheel(names: set[str], size: int) -> list[str]:
    """What is wrong with a wheel of these files and of ``size`` bytes."""
    package = {name for name in names if name.startswith("probact/")}
    others = {name for name in names - package if ".dist-info/" not in name}
    return [
        *(f"not in the wheel: {name}" for name in sorted(expected() - package)),
        *(f"in the wheel, but not in this folder: {name}" for name in sorted((package - expected()) | others)),
        *([f"the wheel has {size:,} bytes, expected at most {LARGEST:,}"] if size > LARGEST else []),
    ]


def faults_of_sdist(names: set[str]) -> list[str]:
    """What is wrong with an sdist of these files, named without its own folder."""
    needed = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "PKG-INFO", *expected()}
    foreign = [name for name in names if "__pycache__" in name or name.startswith((".git/", "runs/", "dist/"))]
    missing = [f"not in the sdist: {name}" for name in sorted(needed - names)]
    return missing + [f"in the sdist, but no part of it: {name}" for name in sorted(foreign)]


def main(folder: Path) -> int:
    """Print what is found; 1 if something is wrong."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        entries = file.infolist()
    with tarfile.open(sdist) as file:
        sources = {name.partition("/")[2] for name in file.getnames()}
    print(f"{wheel.name}: {len(entries)} files, {wheel.stat().st_size:,} bytes; the largest, compressed:")
    for entry in sorted(entries, key=lambda entry: -entry.compress_size)[:LISTED]:
        print(f"{entry.compress_size:>10,}  {entry.filename}")
    print(f"{sdist.name}: {len(sources)} files, {sdist.stat().st_size:,} bytes")
    faults = faults_of_wheel({entry.filename for entry in entries}, wheel.stat().st_size) + faults_of_sdist(sources)
    version = wheel.name.split("-")[1]
    if (tag := os.environ.get("TAG")) and tag != f"v{version}":
        faults.append(f"the tag is {tag}, the version {version}")
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
