"""Every objective says in what it is measured."""

from __future__ import annotations

import pytest

from probact.inference.objectives.base import OBJECTIVES
from probact.reports.objective_unit import objective_of, with_unit
from probact.reports.page.page import page
from tests.helpers.pages import reported, whole_tree


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if OBJECTIVES[name].__module__.startswith("probact.")])
def test_every_objective_has_words_and_a_unit(name: str) -> None:
    tree = whole_tree()
    tree.attrs["objective"] = name
    what, unit = objective_of(tree)
    assert what != name
    assert unit in {"nats", "no unit"}


def test_the_page_names_it() -> None:
    tree = whole_tree()
    assert "validation: -ELBO (nats)" in page([reported(tree=tree)])
    tree.attrs["objective"] = "sum-of-losses"
    text = page([reported(tree=tree)])
    assert "validation: sum of the losses over all steps (nats)" in text
    assert "validation and gaps in nats" not in text
    tree.attrs["objective"] = "of a plug-in"
    assert with_unit(tree) == "of a plug-in"
