"""The tutorials: stored clean, their links lead somewhere, and (slow) they run as they stand.

The site's build runs them too, and shows what comes out.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def faults(notebook: dict[str, Any], folder: Path) -> Iterator[str]:
    """What is not as it is to be stored in ``folder``, one line each."""
    if (notebook["nbformat"], notebook["nbformat_minor"]) != (4, 5):
        yield "format: expected 4.5"
    if notebook["metadata"] != METADATA:
        yield f"metadata: {notebook['metadata']}"
    cells = notebook["cells"]
    ids = [cell.get("id", "") for cell in cells]
    yield from (f"id: {name!r}" for name in ids if not re.fullmatch(r"[a-z]+(-[a-z]+)*", name))
    yield from (f"id: {name!r} twice" for name in set(ids) if ids.count(name) > 1)
    if cells[0]["cell_type"] != "markdown" or not "".join(cells[0]["source"]).startswith("# "):
        yield "expected a title first"
    for cell in cells:
        text = "".join(cell["source"])
        if cell["metadata"]:
            yield f"{cell['id']}: metadata {cell['metadata']}"
        if cell["cell_type"] == "code":
            if cell["outputs"] or cell["execution_count"] is not None:
                yield f"{cell['id']}: what it printed is stored"
        else:
            for link in re.findall(r"\]\(([^)#]+)", text):
                if "://" not in link and not (folder / link).exists():
                    yield f"{cell['id']}: {link} is not there"
        yield from (
            f"{cell['id']}: {place}" for place in re.findall(r"(?<![\w.:/<*$\\])/(?:home|root|tmp|work)/\S+", text)
        )


def test_there_are_four() -> None:
    names = ["learned-optimizer", "plug-ins", "pyro-by-hand", "when-to-stop"]
    assert [path.stem for path in NOTEBOOKS] == names


@each_notebook
def test_it_is_stored_clean(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert list(faults(notebook, path.parent)) == []
    if importlib.util.find_spec("nbformat"):  # it comes with the extra 'docs'
        importlib.import_module("nbformat").validate(notebook)


@each_notebook
def test_numbers_that_it_claims_are_asserted(path: Path) -> None:
    code = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert sum(re.search(r"^ *(assert |testing\.check_)", text, re.MULTILINE) is not None for text in code) >= 5
    for text in code:
        compile(re.sub(r"^%%.*\n", "", text), path.name, "exec")


PLANTED: dict[str, dict[str, Any]] = {
    "an output": {"outputs": [{"output_type": "stream", "name": "stdout", "text": "1"}]},
    "a number of its run": {"execution_count": 3},
    "metadata": {"metadata": {"scrolled": True}},
    "an id by chance": {"id": "a3f9c2"},
    "the same id": {"id": "title"},
    "a broken link": {"cell_type": "markdown", "source": ["See [it](nowhere.md)."]},
    "a path of a machine": {"source": ["open('/home/me/x')"]},
}


@pytest.mark.parametrize("fault", list(PLANTED))
def test_a_fault_is_seen(fault: str) -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text())
    spoilt = copy.deepcopy(notebook)
    place = next(place for place, cell in enumerate(spoilt["cells"]) if cell["cell_type"] == "code")
    spoilt["cells"][place].update(PLANTED[fault])
    assert len(list(faults(spoilt, NOTEBOOKS[0].parent))) == 1


@pytest.mark.slow
@each_notebook
def test_it_runs_as_it_stands(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, which it leaves empty, without a warning."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat comes with the extra 'docs'")
    nbclient = pytest.importorskip("nbclient", reason="nbclient comes with the extra 'docs'")
    pytest.importorskip("ipykernel", reason="ipykernel comes with the extra 'docs'")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own machinery
        nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert list(tmp_path.iterdir()) == []
