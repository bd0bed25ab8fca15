from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probact.problems.base import FAMILIES, value_and_grad
from probact.problems.data.sets import VARIABLE, load
from probact.problems.network import minibatch_indices
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.support.trees import flatten
from probact.unrolling.rollout import unroll
from tests.helpers.checks import problems
from tests.helpers.small_images import write_all

NAMES = ("mnist", "fashion-mnist", "cifar10")
CONSTANTS = {
    "mnist": ([0.1307], [0.3081]),
    "fashion-mnist": ([0.2860], [0.3530]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}


def pixels(name: str, images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in CONSTANTS[name])
    return (images / 255 - mean) / std


def plain(name: str, params: dict[str, Tensor]) -> nn.Module:
    """One network made of torch's own layers, with these parameters."""
    layers: list[nn.Module] = []
    tensors = list(params.values())
    for index, (weight, bias) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        last = index == len(tensors) // 2 - 1
        layer: Any = (
            nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride=2, padding=1)
            if weight.dim() == 4
            else nn.Linear(weight.shape[1], weight.shape[0])
        )
        layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        if weight.dim() == 2 and (index == 0 or last):
            layers.append(nn.Flatten())
        layers += [layer, nn.Identity() if last else nn.ReLU() if weight.dim() == 4 else nn.Sigmoid()]
    return nn.Sequential(*layers)


def of_problem(params: dict[str, Tensor], problem: int) -> dict[str, Tensor]:
    return {name: tensor[problem] for name, tensor in params.items()}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("mnist", {}, 15_910),
        ("fashion-mnist", {}, 15_910),
        ("mnist", {"hidden": "20,20"}, 16_330),
        ("cifar10", {}, 11_642),
    ],
)
def test_numbers_of_parameters(name: str, options: dict[str, str], expected: int) -> None:
    family = Experiment.create(family=name, family_options=options).build_family()
    assert flatten(family.sample(2, torch.Generator().manual_seed(0)).theta0).shape == (2, expected)


@pytest.mark.parametrize("name", NAMES)
def test_side_by_side_is_one_by_one(name: str) -> None:
    """Loss, gradient, nll and test score of plain torch networks, one at a time."""
    optimizee: Any = problems(name, 3)
    (images, labels), (test_images, test_labels) = load(name)
    loss, grads = value_and_grad(lambda params: optimizee.loss(params, 4), optimizee.theta0)
    nll, score = optimizee.nll(optimizee.theta0), optimizee.test_score(optimizee.theta0)
    rows = minibatch_indices(optimizee.seeds, 4, optimizee.batch_size, len(images))
    for problem in range(3):
        network = plain(name, of_problem(optimizee.theta0, problem))
        own = F.cross_entropy(network(pixels(name, images[rows[problem]])), labels[rows[problem]])
        torch.testing.assert_close(loss[problem], own.detach(), rtol=1e-5, atol=1e-5)
        for gradient, expected in zip(grads.values(), torch.autograd.grad(own, network.parameters()), strict=True):
            torch.testing.assert_close(gradient[problem], expected, rtol=1e-5, atol=1e-5)
        seen = optimizee.observed[problem]
        with torch.no_grad():
            outputs = network(pixels(name, test_images))
        own = F.cross_entropy(outputs[seen], test_labels[seen], reduction="sum")
        torch.testing.assert_close(nll[problem], own, rtol=1e-5, atol=1e-5)
        assert float(score.loss[problem]) == pytest.approx(float(F.cross_entropy(outputs, test_labels)), rel=1e-5)
        right = (outputs.argmax(-1) == test_labels).double().mean()
        assert float(score.accuracy[problem]) == pytest.approx(float(right))


@pytest.mark.parametrize("name", NAMES)
def test_start_is_torchs_own(name: str) -> None:
    init = problems(name, 40).theta0
    for parameter in (key for key in init if key.endswith("weight")):
        for kind in ("weight", "bias"):
            bound = init[parameter][0, 0].numel() ** -0.5
            sampled = init[parameter.replace("weight", kind)]
            assert bound * 0.95 < float(sampled.abs().max()) <= bound
            assert float(sampled.mean().abs()) < 4 * bound / (3 * sampled.numel()) ** 0.5


@pytest.mark.parametrize("name", NAMES)
def test_data_can_be_learned(name: str) -> None:
    optimizee = problems(name, 2)
    walked = unroll(RULES["adam"](lr=0.01), optimizee, 40)
    assert bool((walked.nll[-1] < 0.5 * walked.nll[0]).all())


def test_mixed_networks_are_the_smaller_networks() -> None:
    optimizee: Any = problems("mnist", 60, hidden=(6, 6, 6), mixed=True)
    (images, labels), _ = load("mnist")
    loss, grads = value_and_grad(lambda params: optimizee.loss(params, 0), optimizee.theta0)
    rows = minibatch_indices(optimizee.seeds, 0, optimizee.batch_size, len(images))
    weights = [key for key in optimizee.theta0 if key.endswith("weight")]
    found = set()
    for problem in range(60):
        widths = [int(optimizee.kept[key.replace("weight", "bias")][problem].sum()) for key in weights[:-1]]
        depth = sum(width > 0 for width in widths)
        assert all(width >= 2 for width in widths[:depth])
        assert widths[depth:] == [0] * (3 - depth)
        found.add((depth, widths[0]))
        small, inputs = {}, 784
        for key, outputs in zip([*weights[:depth], weights[-1]], [*widths[:depth], 10], strict=True):
            bias = key.replace("weight", "bias")
            small[key] = optimizee.theta0[key][problem, :outputs, :inputs]
            small[bias] = optimizee.theta0[bias][problem, :outputs]
            assert 0 < float(small[key].abs().max()) <= inputs**-0.5 * (1 + 1e-6)
            assert inputs < 784 or float(small[key].abs().max()) > 0.99 * inputs**-0.5
            inputs = outputs
        network = plain("mnist", small)
        expected = F.cross_entropy(network(pixels("mnist", images[rows[problem]])), labels[rows[problem]])
        torch.testing.assert_close(loss[problem], expected.detach(), rtol=1e-5, atol=1e-5)
        for key, own in zip(small, torch.autograd.grad(expected, network.parameters()), strict=True):
            left = grads[key][problem][tuple(slice(size) for size in own.shape)]
            torch.testing.assert_close(left, own, rtol=1e-5, atol=1e-5)
    assert {depth for depth, _ in found} == {1, 2, 3}
    assert {width for _, width in found} == {2, 3, 4, 5, 6}
    for key, gradient in grads.items():
        assert float((gradient * (1 - optimizee.kept[key])).abs().max()) == 0
        assert float((optimizee.theta0[key] * (1 - optimizee.kept[key])).abs().max()) == 0


def test_pruned_weights_do_nothing_whatever_they_are() -> None:
    optimizee: Any = problems("fashion-mnist", 8, hidden=(5, 5), mixed=True)
    noisy = {
        key: tensor + (1 - optimizee.kept[key]) * torch.randn_like(tensor) for key, tensor in optimizee.theta0.items()
    }
    for function in (optimizee.nll, lambda params: optimizee.loss(params, 1), lambda p: optimizee.test_score(p).loss):
        torch.testing.assert_close(function(noisy), function(optimizee.theta0), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_data_are_read_at_the_first_sample(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    family, other = FAMILIES[name](), FAMILIES[name]()
    write_all(tmp_path)
    network = family.sample(1, torch.Generator().manual_seed(0))
    assert network.data.tensors[0] is other.load()[0][0]  # one copy in memory, whatever the number of families


@pytest.mark.parametrize("name", NAMES)
def test_images_are_moved_once_and_stay_bytes(name: str) -> None:
    family = FAMILIES[name]()
    one, other = (family.sample(2, torch.Generator().manual_seed(seed)).to("cpu") for seed in (0, 1))
    assert one.data is other.data
    assert one.data.tensors[0].dtype == torch.uint8


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mnist", {"activation": "step"}, "unknown activation 'step': choose from sigmoid, relu, tanh"),
        ("mnist", {"hidden": "20,0"}, "expected hidden layers of >= 1 units, got 20, 0"),
        ("mnist", {"hidden": "20,10", "mixed": "true"}, "hidden layers of one size where depth is mixed, got 20, 10"),
        ("fashion-mnist", {"hidden": "1", "mixed": "true"}, "'fashion-mnist': expected hidden layers of >= 2 units"),
        ("mnist", {"batch_size": "0"}, "expected batch_size >= 1, got 0"),
        ("mnist", {"observations": "1000"}, "expected observations <= 150 held-out rows, got 100"),
        ("cifar10", {"channels": "8,0"}, "family 'cifar10': expected 1 to 5 layers of >= 1 channels, got 8, 0"),
        ("cifar10", {"channels": ""}, "expected 1 to 5 layers of >= 1 channels, got none"),
    ],
)
def test_refusals(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Experiment.create(family=name, family_options=options).build_family().sample(1, torch.Generator())
