"""The controller of Neural Optimizer Search: a recurrent network that writes rules word by word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from probact.rule_search.controllers.base import CONTROLLERS, Controller, Scored
from probact.rule_search.programs import GROUP, MOST_CHOICES, Program, num_choices
from probact.support.randomness import random_stream

_KINDS = (0, 0, 1, 1, 2)
"""Of the words of a group: operands, unary and binary functions."""


class _Writer(nn.Module):
    """p(word | words before), an LSTM with an output for each kind of word."""

    def __init__(self, places: int, units: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(units, units)
        self.words = nn.Embedding(GROUP * MOST_CHOICES + 1, units)
        self.places = nn.Embedding(places, units)
        self.outputs = nn.ModuleList(nn.Linear(units, MOST_CHOICES) for _ in range(max(_KINDS) + 1))

    def log_probabilities(self, place: int, before: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        """Of each choice at ``place``, ``(B, choices)``, and the next state."""
        embedded = self.words(before) + self.places.weight[place]
        state = self.cell(embedded, state)
        logits = self.outputs[_KINDS[place % GROUP]](state[0])[:, : num_choices(place)]
        return logits.log_softmax(-1), state

    def begin(self, num: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        zeros = self.places.weight.new_zeros(num, self.cell.hidden_size)
        return torch.full((num,), GROUP * MOST_CHOICES), (zeros, zeros)

    def scored(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """log p of each rule ``words (B, places)``, ``(B,)``, and the mean entropy a word in nats, ``(B,)``."""
        before, state = self.begin(len(words))
        log_p, entropy = [], []
        for place in range(words.shape[1]):
            found, state = self.log_probabilities(place, before, state)
            log_p.append(found.gather(1, words[:, place : place + 1]).squeeze(1))
            entropy.append(-(found.exp() * found).sum(-1))
            before = place % GROUP * MOST_CHOICES + words[:, place]
        return torch.stack(log_p).sum(0), torch.stack(entropy).mean(0)


@CONTROLLERS.register("lstm")
class LSTM(Controller):
    """An LSTM of 64 units that writes the words, taught by proximal policy optimization (Bello et al. 2017).

    Advantage: utility less its moving average, over its moving spread; three passes over each batch, ratios clipped at
    1 +- .2 (Schulman et al. 2017).  The entropy's weight is .02 a word or more: it grows while more than ``repeats`` of
    the rules, by a running mean, were tried before, and falls while fewer were.  With the paper's .0015 it collapses on
    the first family that works.
    """

    units, lr, passes, clip, decay = 64, 3e-3, 3, 0.2, 0.9
    entropies, repeats, pace = (0.02, 0.3), 0.5, 0.1

    def __init__(self, depth: int, seed: int, rules: int = 1000) -> None:
        super().__init__(depth, seed, rules)
        self._generator = random_stream("draws", seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._writer = _Writer(depth * GROUP, self.units)
        self._optimizer = torch.optim.Adam(self._writer.parameters(), lr=self.lr)
        self._mean, self._square, self._batches = 0.0, 0.0, 0
        self.entropy_weight, self.repeated = self.entropies[0], self.repeats

    def propose(self, num: int) -> list[Program]:
        before, state = self._writer.begin(num)
        words = []
        with torch.no_grad():
            for place in range(self.depth * GROUP):
                found, state = self._writer.log_probabilities(place, before, state)
                words.append(torch.multinomial(found.exp(), 1, generator=self._generator).squeeze(1))
                before = place % GROUP * MOST_CHOICES + words[-1]
        return [tuple(program) for program in torch.stack(words, 1).tolist()]

    def learn(self, scored: Sequence[Scored]) -> None:
        with torch.enable_grad():
            self._learn(scored)

    def _learn(self, scored: Sequence[Scored]) -> None:
        words = torch.tensor([one.program for one in scored])
        utility = torch.tensor([one.utility for one in scored])
        advantage = self._advantage(utility)
        repeated = sum(not one.is_new for one in scored) / len(scored)
        self.repeated = self.decay * self.repeated + (1 - self.decay) * repeated
        changed = self.entropy_weight * math.exp(self.pace * (self.repeated - self.repeats))
        self.entropy_weight = min(max(changed, self.entropies[0]), self.entropies[1])
        old = None
        for _ in range(self.passes):
            log_p, entropy = self._writer.scored(words)
            old = log_p.detach() if old is None else old
            ratio = (log_p - old).exp()
            gained = torch.minimum(ratio * advantage, ratio.clamp(1 - self.clip, 1 + self.clip) * advantage)
            self._optimizer.zero_grad()
            (-gained.mean() - self.entropy_weight * words.shape[1] * entropy.mean()).backward()
            nn.utils.clip_grad_norm_(self._writer.parameters(), 1.0)
            self._optimizer.step()

    def _advantage(self, utility: Tensor) -> Tensor:
        """By the averages before this batch; the first one's own."""
        self._batches += 1
        mean, square = float(utility.mean()), float((utility**2).mean())
        if self._batches == 1:
            self._mean, self._square = mean, square
        spread = max(self._square - self._mean**2, 1e-4) ** 0.5
        advantage = ((utility - self._mean) / spread).clamp(-3, 3)
        self._mean = self.decay * self._mean + (1 - self.decay) * mean
        self._square = self.decay * self._square + (1 - self.decay) * square
        return advantage

    def to_state(self) -> dict[str, Any]:
        return {
            "generator": self._generator.get_state(),
            "weights": deepcopy(self._writer.state_dict()),
            "adam": deepcopy(self._optimizer.state_dict()),
            "averages": [self._mean, self._square, self.entropy_weight, self.repeated],
            "batches": self._batches,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        self._writer.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["adam"])
        self._mean, self._square, self.entropy_weight = state["averages"][:3]
        self.repeated = state["averages"][3] if len(state["averages"]) > 3 else self.repeats  # not in older searches
        self._batches = state["batches"]
