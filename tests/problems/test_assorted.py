"""Problems of many kinds: what each is, and that all can be learned."""

import pytest
import torch

from probact.problems.assorted import KINDS, Assorted
from probact.problems.base import FAMILIES, value_and_grad
from probact.problems.draws import Draw, log_losses, squares


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_learned(kind: str, seed: int) -> None:
    problems = Assorted((kind,)).sample(2, torch.Generator().manual_seed(seed))
    params = {name: tensor.clone() for name, tensor in problems.theta0.items()}
    before = problems.nll(params)
    assert bool(before.isfinite().all())
    optimizer = torch.optim.Adam([tensor.requires_grad_() for tensor in params.values()], lr=3e-3)
    for step in range(150):
        _, grads = value_and_grad(lambda theta, step=step: problems.loss(theta, step), params)
        for name, tensor in params.items():
            tensor.grad = grads[name]
        optimizer.step()
    with torch.no_grad():
        after = problems.nll(params)
    assert float((after / before).log().mean()) < 0.15  # with noise alone there is little to learn
    assert after.isfinite().all()


def test_what_is_drawn_is_a_function_of_the_generator() -> None:
    one, same, other = (FAMILIES.build("assorted").sample(2, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert one.theta0.keys() == same.theta0.keys()
    assert all(torch.equal(tensor, same.theta0[name]) for name, tensor in one.theta0.items())
    assert {name: tensor.shape for name, tensor in one.theta0.items()} != {
        name: tensor.shape for name, tensor in other.theta0.items()
    }


def test_members_are_its_kinds() -> None:
    assert [member.kinds for member in FAMILIES.build("assorted").members] == [(kind,) for kind in KINDS]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"expected kinds among regression, classification.*got riddles"):
        FAMILIES.build("assorted", {"kinds": "text,riddles"})


def test_losses_are_means_a_row() -> None:
    draw = Draw(torch.Generator().manual_seed(0))
    outputs, targets = draw.normal(4, 3), draw.normal(4, 3)
    expected = [float(torch.nn.functional.mse_loss(o, t)) for o, t in zip(outputs, targets, strict=True)]
    assert squares(outputs, targets).tolist() == pytest.approx(expected)
    logits, labels = draw.normal(4, 5, 6), torch.randint(6, (4, 5))
    expected = [float(torch.nn.functional.cross_entropy(o, t)) for o, t in zip(logits, labels, strict=True)]
    assert log_losses(logits, labels).tolist() == pytest.approx(expected)
