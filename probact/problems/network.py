"""Any ``nn.Module`` with a loss and data as a family: L networks trained side by side under ``vmap``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from probact.problems.base import HELD_OUT_ROWS, Labels, Optimizee, OptimizeeFamily, Score, Shared
from probact.support.randomness import uniform_bits
from probact.support.refusals import check_range, naming
from probact.support.trees import Params, map_params

NETWORKS, ROWS = 16, 500
"""How many networks and test rows are scored at once."""

Data = tuple[Tensor, Tensor]
"""Inputs ``(N, ...)`` and targets ``(N, ...)``."""


def minibatch_indices(seeds: Tensor, step: int, size: int, num_rows: int) -> Tensor:
    """Rows ``(L, size)`` drawn uniformly with replacement: a function of each problem's seed and the step alone.

    So an unroll can be repeated, resumed, or continued with some problems left out.
    """
    counter = torch.arange(size, device=seeds.device) + step * size
    return uniform_bits(seeds.unsqueeze(-1), counter) % num_rows


def gather(inputs: Tensor, rows: Tensor) -> Tensor:
    """``inputs[rows]``, whole rows at a time: ten times faster for images of bytes."""
    return inputs.index_select(0, rows.flatten()).unflatten(0, rows.shape)


@dataclass(frozen=True)
class Network(Optimizee):
    """L networks: ``loss`` is the mean over a minibatch of the training data, ``nll`` the sum over held-out x.

    :ivar seeds: ``(L,)`` int64, which minibatches each problem sees.
    :ivar observed: ``(L, n)`` int64, the held-out rows that are x, the same at every step.
    :ivar data: training inputs and targets, held-out inputs and targets.
    :ivar outputs: ``(params of one network, inputs (n, ...)) -> (n, ...)``.
    :ivar per_example: ``(outputs, targets) -> (n,)`` losses in nats.
    :ivar classifier: the largest output is the predicted label.
    :ivar density: ``outputs (L, n, ...) -> p(. | output)``, of which ``per_example`` is -log, or None.
    """

    seeds: Tensor
    observed: Tensor
    data: Shared
    outputs: Callable[[Params, Tensor], Tensor]
    per_example: Callable[[Tensor, Tensor], Tensor]
    batch_size: int
    classifier: bool = False
    density: Callable[[Tensor], Distribution] | None = None

    stochastic: ClassVar[bool] = True

    def _losses(self, params: Params, inputs: Tensor, targets: Tensor) -> Tensor:
        return self.per_example(self.outputs(params, inputs), targets)

    def loss(self, params: Params, step: int) -> Tensor:
        inputs, targets, _, _ = self.data.tensors
        rows = minibatch_indices(self.seeds, step, self.batch_size, len(inputs))
        return torch.vmap(self._losses)(params, gather(inputs, rows), targets[rows]).mean(-1)

    def nll(self, params: Params) -> Tensor:
        _, _, inputs, targets = self.data.tensors
        rows = self.observed
        return torch.vmap(self._losses)(params, gather(inputs, rows), targets[rows]).sum(-1)

    def predictive(self, params: Params) -> Distribution | None:
        if self.density is None:
            return None
        density = self.density(torch.vmap(self.outputs)(params, gather(self.data.tensors[2], self.observed)))
        return Independent(density, len(density.batch_shape) - 1)

    def observations(self) -> Tensor | None:
        return None if self.density is None else self.data.tensors[3][self.observed]

    def test_score(self, params: Params) -> Score:
        """On all held-out rows in one pass, ``NETWORKS`` times ``ROWS`` at a time, so that memory stays bounded."""
        _, _, inputs, targets = self.data.tensors

        def sums(params: Params, inputs: Tensor, targets: Tensor) -> Tensor:
            outputs = self.outputs(params, inputs)
            losses = self.per_example(outputs, targets)
            right = outputs.argmax(-1) == targets if self.classifier else torch.full_like(losses, torch.nan)
            return torch.stack([losses.sum(), right.to(losses.dtype).sum()])

        total = []
        with torch.no_grad():
            for some in torch.arange(self.num, device=self.seeds.device).split(NETWORKS):
                of_some = map_params(lambda tensor, some=some: tensor[some], params)
                parts = zip(inputs.split(ROWS), targets.split(ROWS), strict=True)
                scored = [torch.vmap(sums, (0, None, None))(of_some, *part).double() for part in parts]
                total.append(torch.stack(scored).sum(0))
        loss, accuracy = (torch.cat(total) / len(inputs)).unbind(-1)
        return Score(loss, accuracy)

    def held_out_labels(self, params: Params) -> Labels | None:
        if not self.classifier or self.density is None:
            return None
        _, _, inputs, targets = self.data.tensors
        inputs, targets = inputs[:HELD_OUT_ROWS], targets[:HELD_OUT_ROWS]
        with torch.no_grad():
            logits = [
                torch.vmap(self.outputs, (0, None))(map_params(lambda tensor, some=some: tensor[some], params), inputs)
                for some in torch.arange(self.num, device=self.seeds.device).split(NETWORKS)
            ]
        seen = torch.zeros(self.num, len(self.data.tensors[3]), dtype=torch.bool, device=targets.device)
        seen = seen.scatter(1, self.observed, True)[:, : len(targets)]
        return Labels(torch.cat(logits).softmax(-1), targets.expand(self.num, -1).masked_fill(seen, -1))


@dataclass(eq=False)
class NetworkFamily(OptimizeeFamily):
    """Networks that ``make()`` returns, trained on ``train`` and observed on ``held_out``.

    A problem is one freshly initialised network, its stream of minibatches, and one held-out batch x.

    :param make: builds one module in its initial state, by torch's global random numbers; no batch norm
        (its running statistics are not a function of the parameters).
    :param per_example: ``(outputs (n, ...), targets (n, ...)) -> (n,)``: -log p(target | output).
    :param train, held_out: inputs and targets of the two splits; left out by a family that has its own ``load``.
    :param batch_size: rows of one training minibatch.
    :param observations: n, the number of held-out rows in x.  A larger n means later halting: the log-likelihood
        is a sum over x, the cost of a step stays -log nu.
    :param classifier: the outputs' largest entry is the predicted label.
    :param density: ``outputs (L, n, ...) -> p(. | output)``, a torch distribution of which ``per_example`` is -log; for
        predictions.
    """

    make: Callable[[], nn.Module]
    per_example: Callable[[Tensor, Tensor], Tensor]
    train: Data | None = None
    held_out: Data | None = None
    batch_size: int = 64
    observations: int = 64
    classifier: bool = False
    density: Callable[[Tensor], Distribution] | None = None
    _template: nn.Module = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.held_out is not None:
            self._check_observations(len(self.held_out[0]))
        check_range(self.label, at_least=1, batch_size=self.batch_size, observations=self.observations)
        with torch.random.fork_rng(devices=[]), naming(f"{self.label}: make"):
            self._template = self.make()
        what = f"{self.label}: make: expected a module"
        if not isinstance(self._template, nn.Module):
            raise ValueError(f"{what}, got {type(self._template).__name__}")
        if list(self._template.buffers()):
            raise ValueError(f"{what} without buffers (no batch norm): its state must be its parameters")
        if not list(self._template.parameters()):
            raise ValueError(f"{what} with parameters, got {type(self._template).__name__} without")
        for name, parameter in self._template.named_parameters():
            if not parameter.is_floating_point():
                raise ValueError(f"{what} of floating-point parameters, got {name!r} of {parameter.dtype}")

    def load(self) -> tuple[Data, Data]:
        """Training and held-out data; read at the first ``sample``, so that a family can be built without its files.

        :raises ValueError: if neither data nor a ``load`` of its own was given.
        """
        if self.train is None or self.held_out is None:
            raise ValueError(f"{self.label}: expected train and held_out, or a method load, got neither")
        return self.train, self.held_out

    @cached_property
    def _data(self) -> Shared:
        train, held_out = self.load()
        self._check_observations(len(held_out[0]))
        self._check_data("train", *train)
        self._check_data("held_out", *held_out)
        return Shared((*train, *held_out))

    def _check_data(self, split: str, inputs: Tensor, targets: Tensor) -> None:
        """Try the module and ``per_example`` on two rows, as they will be used.

        :raises ValueError: that names what does not fit.
        """
        if len(inputs) != len(targets) or len(inputs) == 0:
            got = f"{len(inputs)} inputs and {len(targets)} targets"
            raise ValueError(f"{self.label}: {split}: expected as many targets as inputs, got {got}")
        dtype = inputs.dtype if inputs.is_floating_point() else None
        params = {name: tensor.detach().to(dtype).unsqueeze(0) for name, tensor in self._template.named_parameters()}
        params = map_params(Tensor.requires_grad_, params)
        inputs, targets = inputs[:2].unsqueeze(0), targets[:2].unsqueeze(0)
        with torch.enable_grad():
            with naming(f"{self.label}: make: its module, on inputs of {split} of shape {tuple(inputs.shape[2:])},"):
                outputs = torch.vmap(self._outputs)(params, inputs)
            what = f"{self.label}: per_example"
            with naming(f"{what}, on targets of {split},"):
                losses = torch.vmap(self.per_example)(outputs, targets)
        num = inputs.shape[1]
        if not isinstance(losses, Tensor) or losses.shape != (1, num):
            shape = tuple(losses.shape[1:]) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(f"{what}: expected a loss for each of n = {num} rows, shape ({num},), got {shape}")
        if not losses.requires_grad:
            raise ValueError(f"{what}: expected a gradient with respect to the parameters, got losses without")

    def _check_observations(self, num_rows: int) -> None:
        if self.observations > num_rows:
            raise ValueError(
                f"{self.label}: expected observations <= {num_rows} held-out rows, got {self.observations}"
            )

    def _outputs(self, params: Params, inputs: Tensor) -> Tensor:
        outputs: Tensor = torch.func.functional_call(self._template, params, (inputs,))
        return outputs

    def initial_params(self, num: int, generator: torch.Generator) -> Params:
        """theta_0 of ``num`` networks, each from its own call of ``make``."""
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = [dict(self.make().named_parameters()) for _ in range(num)]
        return {name: torch.stack([params[name].detach() for params in made]) for name in made[0]}

    def sample(self, num: int, generator: torch.Generator) -> Network:
        return Network(
            self.initial_params(num, generator),
            seeds=torch.randint(-(2**62), 2**62, (num,), generator=generator),
            observed=torch.rand(num, len(self._data.tensors[-1]), generator=generator).argsort(-1)[
                :, : self.observations
            ],
            data=self._data,
            outputs=self._outputs,
            per_example=self.per_example,
            batch_size=self.batch_size,
            classifier=self.classifier,
            density=self.density,
        )
