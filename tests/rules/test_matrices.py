"""Matrices made even: against the singular value decomposition, and against Sinkhorn's own promise."""

import math

import pytest
import torch
from torch import Tensor

from probact.rules.matrices import LEAST_ROW, WIDEST, balanced, equalised, equalisers, normalised, orthogonal, sides


def drawn(*shape: int, num: int = 3) -> Tensor:
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(0))


def as_matrix(part: Tensor, shape: tuple[int, ...]) -> Tensor:
    return part.unflatten(-1, sides(torch.Size(shape)))


def evened(change: object, matrix: Tensor) -> Tensor:
    shape = matrix.shape[1:]
    return as_matrix(change([matrix.flatten(1)], [shape])[0], shape)  # type: ignore[operator]


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (4, 2, 3, 3), (WIDEST, 100)])
def test_singular_values_are_made_alike(shape: tuple[int, ...], double: None) -> None:
    """Those down to a hundredth of the matrix's length are; the singular vectors stay."""
    rows, columns = sides(torch.Size(shape))
    left, _, right = torch.linalg.svd(drawn(rows, columns), full_matrices=False)
    values = torch.logspace(-1.9, 0, min(rows, columns))
    values = values / values.norm()
    found = evened(orthogonal, (left * values @ right).view(3, *shape))
    after = left.mT @ found @ right.mT
    even = after.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(after, torch.diag_embed(even), atol=1e-9, rtol=0)
    seen = even[:, values > 0.01]
    assert float(seen.min()) > 0
    assert float((seen.amax(-1) / seen.amin(-1)).max()) < 1.29 / 0.71
    torch.testing.assert_close(found.square().mean((-1, -2)).sqrt(), torch.ones(3))


@pytest.mark.parametrize("shape", [(8, 5), (40, 90), (4, 2, 3, 3)])
def test_rows_and_columns_are_made_alike(shape: tuple[int, ...], double: None) -> None:
    rows, columns = sides(torch.Size(shape))
    uneven = drawn(rows, columns) * torch.logspace(-0.4, 0.4, rows).unsqueeze(-1) * torch.logspace(0.3, -0.3, columns)
    found = evened(balanced, uneven.view(3, *shape))
    for dim in (-1, -2):
        before, after = (each.square().mean(dim).sqrt().log() for each in (uneven, found))
        assert bool((after.std(-1) < 0.5 * before.std(-1)).all())
    assert bool((found.sign() == uneven.sign()).all())
    torch.testing.assert_close(found.square().mean((-1, -2)).sqrt(), torch.ones(3), rtol=0.01, atol=0)


def test_a_row_that_hardly_has_any_stays_short(double: None) -> None:
    matrix = drawn(10, 6)
    matrix[:, 3] *= 1e-6
    found = evened(balanced, matrix)
    assert float(found[:, 3].abs().max()) < 1e-5 / LEAST_ROW
    matrix[:, 3] = 0
    assert float(evened(balanced, matrix)[:, 3].abs().max()) == 0


def test_what_is_no_matrix_keeps_its_direction() -> None:
    vectors, shapes = [drawn(7), drawn(1, 4).flatten(1)], [torch.Size([7]), torch.Size([1, 4])]
    for part, given in zip(balanced(vectors, shapes).values(), vectors, strict=True):
        torch.testing.assert_close(part, given / given.square().mean(-1, keepdim=True).sqrt())
    assert not orthogonal(vectors, shapes)


def test_wide_matrices_are_not_made_orthogonal() -> None:
    assert not orthogonal([drawn((WIDEST + 1) ** 2)], [torch.Size([WIDEST + 1, WIDEST + 1])])


@pytest.mark.parametrize("change", [balanced, orthogonal])
def test_tensors_of_one_shape_are_as_each_alone(change: object) -> None:
    parts, shapes = [*drawn(12).split(1)], [torch.Size([3, 4])] * 3
    together = [*change(parts, shapes).values()]  # type: ignore[operator]
    alone = [change([part], [shape])[0] for part, shape in zip(parts, shapes, strict=True)]  # type: ignore[operator]
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("change", [balanced, orthogonal])
@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e9])
def test_the_scale_does_not_matter_and_0_stays_0(change: object, scale: float) -> None:
    found = evened(change, scale * drawn(3, 4))
    torch.testing.assert_close(found, evened(change, drawn(3, 4)) if scale else torch.zeros_like(found))


def test_normalised_has_a_root_mean_square_of_1() -> None:
    torch.testing.assert_close(normalised(drawn(9)).square().sum(-1).sqrt(), torch.full((3,), math.sqrt(9)))


@pytest.mark.parametrize("shape", [(5, 9), (40, 6), (8, 2, 3)])
def test_an_equaliser_does_to_its_matrix_what_the_polynomials_do(shape: tuple[int, ...], double: None) -> None:
    parts = [drawn(math.prod(shape))]
    shapes = [torch.Size(shape)]
    found = equalised(parts[0], shapes[0], equalisers(parts, shapes)[0])
    torch.testing.assert_close(found, orthogonal(parts, shapes)[0], rtol=1e-6, atol=1e-9)
