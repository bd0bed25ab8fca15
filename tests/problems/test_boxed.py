"""Known functions on a box, and tables of fitted models: to judge searches by."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import minimize
from torch import Tensor

from probact.problems.base import FAMILIES
from probact.problems.boxed import NUM_POINTS, Boxed, Placing
from probact.problems.gradient_boosting import GradientBoosting
from probact.problems.svm import Svm
from probact.problems.tabulated import Tabulated, TabulatedFamily, interpolated, table
from probact.testing import check_family

KNOWN: dict[str, tuple[float, tuple[float, ...]]] = {
    "branin": (0.397887, (0.54277, 0.15167)),
    "goldstein-price": (math.log(3), (0.5, 0.25)),
    "hartmann-3": (-3.86278, (0.114614, 0.555649, 0.852547)),
    "hartmann-6": (-3.32237, (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573)),
}
"""Minimum and minimiser, as published (Dixon and Szego 1978; Surjanovic and Bingham's library), in [0,1]^d."""
TABULATED: list[type[TabulatedFamily]] = [Svm, GradientBoosting]


def drawn(name: str, num: int = 4, seed: int = 0, **options: Any) -> Boxed:
    problems = FAMILIES.build(name, options).sample(num, torch.Generator().manual_seed(seed)).to(torch.float64)
    assert isinstance(problems, Boxed)
    return problems


def unplaced(problems: Boxed) -> Boxed:
    return replace(problems, offset=torch.zeros_like(problems.offset), slope=torch.ones_like(problems.slope))


@pytest.mark.parametrize("name", [*KNOWN, "svm", "gradient-boosting"])
def test_families_keep_their_promises(name: str) -> None:
    check_family(FAMILIES[name])


@pytest.mark.parametrize("name", KNOWN)
def test_minima_are_those_of_the_literature(name: str) -> None:
    minimum, place = KNOWN[name]
    plain = unplaced(drawn(name, 1))
    at = torch.tensor([place], dtype=torch.float64)
    assert float(plain.raw(at)) == pytest.approx(minimum, abs=2e-5)
    assert float(plain.raw_lowest()) == pytest.approx(minimum, abs=1e-5)

    def function(u: Any) -> Any:
        leaf = torch.tensor(u, requires_grad=True)
        value = plain.raw(leaf.unsqueeze(0)).squeeze(0)
        return value.item(), torch.autograd.grad(value, leaf)[0].numpy()

    starts = torch.rand(20, len(place), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = min(
        (minimize(function, start.numpy(), jac=True, bounds=[(0, 1)] * len(place)) for start in starts),
        key=lambda result: float(result.fun),
    )
    assert found.fun == pytest.approx(float(plain.raw_lowest()), abs=1e-6)


def test_published_values() -> None:
    """Off the minimum: worked out from the formulas as they are printed."""

    def at(name: str, *u: float) -> float:
        return float(unplaced(drawn(name, 1)).raw(torch.tensor([u], dtype=torch.float64)))

    assert at("branin", 1 / 3, 0.0) == pytest.approx(36 + 20 - 10 / (8 * math.pi), rel=1e-9)  # (0, 0)
    assert at("goldstein-price", 0.5, 0.5) == pytest.approx(math.log(20 * 30), rel=1e-9)  # (0, 0)
    assert at("goldstein-price", 0.75, 0.75) == pytest.approx(math.log((1 + 9 * 3) * (30 + 37)), rel=1e-9)  # (1, 1)


@pytest.mark.parametrize("name", [*KNOWN, "svm", "gradient-boosting"])
def test_no_shift_moves_the_minimum_out(name: str) -> None:
    """Of many problems the smallest value found in [0,1]^d comes down to the optimum, and never below."""
    problems = drawn(name, 200, seed=1)
    dim = problems.offset.shape[1]
    if name in KNOWN:
        minimum = torch.tensor(KNOWN[name][1], dtype=torch.float64)
        places = [(minimum - problems.offset) / problems.slope]
        if name == "branin":
            places += [
                (torch.tensor(u, dtype=torch.float64) - problems.offset) / problems.slope
                for u in ((0.12389, 0.81833), (0.96165, 0.165))
            ]
        inside = torch.stack([((x >= 0) & (x <= 1)).all(-1) for x in places])
        values = torch.stack([problems.nll({"x": x}) for x in places])
        floor = problems.optimum()
        assert bool(inside.any(0).all())
        torch.testing.assert_close(torch.where(inside, values, math.inf).amin(0), floor, atol=1e-3, rtol=0)
    points = torch.rand(500, 200, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    regret = problems.value_at(points) - problems.lowest
    assert bool((regret >= -1e-6).all())
    assert float(regret.amin(0).median()) < (1.0 if dim < 6 else 3.0)


@pytest.mark.parametrize("name", ["branin", "hartmann-6", "svm"])
def test_values_are_standardised(name: str) -> None:
    problems = drawn(name, 8)
    points = torch.rand(20_000, 8, problems.offset.shape[1], dtype=torch.float64)
    values = problems.value_at(points)
    noise = 5 * values.std(0) / NUM_POINTS**0.5
    assert bool((values.mean(0).abs() < noise).all())
    torch.testing.assert_close(values.std(0), torch.ones(8, dtype=torch.float64), atol=0.25, rtol=0)


def test_problems_are_mirrored_and_moved() -> None:
    placing = Placing.draw(4000, 2, 0.1, torch.Generator().manual_seed(0))
    ends = torch.stack([placing(torch.zeros(4000, 2)), placing(torch.ones(4000, 2))])
    assert float(ends.min()) >= -1e-6
    assert float(ends.max()) <= 1 + 1e-6
    assert float((placing.slope < 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    torch.testing.assert_close(placing.slope.abs(), torch.full((4000, 2), 0.8))
    assert float(ends.amin(0).std()) > 0.05


@pytest.mark.parametrize("shape", [(5, 4), (3, 2, 4, 3)])
def test_interpolation_is_scipys(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    tables, u = torch.randn(2, *shape, dtype=torch.float64), torch.rand(7, 3, len(shape), dtype=torch.float64)
    which = torch.tensor([1, 0, 1])
    found = interpolated(tables, which, u)
    for column, number in enumerate(which.tolist()):
        axes = [torch.linspace(0, 1, size, dtype=torch.float64).numpy() for size in shape]
        expected = RegularGridInterpolator(axes, tables[number].numpy())(u[:, column].numpy())
        torch.testing.assert_close(found[:, column], torch.as_tensor(expected))


@pytest.mark.parametrize("kind", TABULATED)
def test_the_lowest_of_a_table_is_found(kind: type[TabulatedFamily]) -> None:
    problems = drawn(kind.name, 3)
    assert isinstance(problems, Tabulated)
    dim = problems.offset.shape[1]
    best = torch.full((3,), math.inf, dtype=torch.float64)
    x = torch.rand(400, 3, dim, dtype=torch.float64)
    for step in range(60):  # a plain random descent, many at once
        near = (x + 0.3 * 0.9**step * torch.randn_like(x)).clamp(0, 1)
        x = torch.where((problems.value_at(near) < problems.value_at(x)).unsqueeze(-1), near, x)
        best = torch.minimum(best, problems.value_at(x).amin(0))
    torch.testing.assert_close(best, problems.lowest, atol=0.02, rtol=0)
    assert bool((best >= problems.lowest - 1e-6).all())


@pytest.mark.parametrize("kind", TABULATED)
@pytest.mark.parametrize("data", ["breast-cancer", "digits"])
def test_tables_have_the_shape_of_their_grid(kind: type[TabulatedFamily], data: str) -> None:
    values: Tensor = table(f"{kind.name} {data}")
    assert tuple(values.shape) == tuple(len(axis.grid) for axis in kind.axes)
    assert bool(values.isfinite().all() & (values >= 0).all())


@pytest.mark.parametrize(
    ("kind", "place"), [(Svm, (6, slice(4, 7))), (GradientBoosting, (4, 0, 1, slice(0, 3)))], ids=["svm", "gb"]
)
def test_tables_are_what_the_models_do(kind: type[TabulatedFamily], place: Any) -> None:
    """Fitted again, some cells of them."""
    *outer, last = kind.axes
    values = [axis.grid[index] for axis, index in zip(outer, place, strict=False)]
    found = kind.fit("breast-cancer", values, last.grid[place[-1]])
    assert found == pytest.approx(table(f"{kind.name} breast-cancer")[place].tolist(), abs=0.01)


def test_one_data_set_alone() -> None:
    problems = drawn("svm", 6, data="digits")
    assert isinstance(problems, Tabulated)
    torch.testing.assert_close(problems.tables.tensors[0][0], table("svm digits"), check_dtype=False)
    with pytest.raises(ValueError, match="family 'svm': expected data breast-cancer or digits or all, got 'iris'"):
        Svm(data="iris")
