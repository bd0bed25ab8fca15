"""An optimizer's state as ``torch.optim`` saves it: hooks, groups by places, and what this one remembers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probact.drop_in import groups, horizon as horizons, stop as stops
from probact.drop_in.state import Standing
from probact.drop_in.watch import Watch, of_another
from probact.rules.base import UpdateRule
from probact.stopping.base import StopRule


class Resumable(torch.optim.Optimizer):
    """A ``torch.optim.Optimizer`` with a ``Standing`` and a ``Watch``, which goes on bit for bit where it was saved."""

    rule: UpdateRule
    stop: StopRule | None
    _standing: Standing
    _watch: Watch

    def _params(self) -> dict[str, Tensor]:
        raise NotImplementedError

    def _fit(self) -> Tensor:
        raise NotImplementedError

    def _list_cohorts(self) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Where the optimization stands, without the weights of rule and posterior; loads with ``weights_only``."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        packed = groups.packed(self.param_groups)
        packed[0]["standing"] = self._standing.to_state(self.rule, self.stop, self._fit())
        packed[0]["watch"] = self._watch.to_state(self._params())
        cohorts = (self.state.get(param, {"cohort": -1}) for param in self._params().values())
        state_dict: dict[str, Any] = {"state": dict(enumerate(cohorts)), "param_groups": packed}
        for post_hook in self._optimizer_state_dict_post_hooks.values():
            state_dict = state_dict if (changed := post_hook(self, state_dict)) is None else changed
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where another optimizer with the same rule, posterior and parameters stood, bit for bit.

        If it had stopped and ``stop`` is another, or has another threshold, this one has not.

        :raises ValueError: if ``state_dict`` is not one of such an optimizer; nothing is changed then.
        """
        state_dict = dict(state_dict)
        for pre_hook in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = state_dict if (changed := pre_hook(self, state_dict)) is None else changed
        zero, posterior = self._fit(), self._standing.belief.posterior
        try:
            packed = [dict(group) for group in state_dict["param_groups"]]
            if (expected := groups.sizes(self.param_groups)) != (got := groups.sizes(packed)):
                raise ValueError(f"expected groups of {expected} parameters, got {got}")
            if "standing" not in packed[0]:
                raise ValueError("expected 'standing' in it, which flatten_optimizer_state_dict=True loses")
            saved, watch = packed[0].pop("standing"), packed[0].pop("watch", None)
            own = self._standing.horizon
            horizon = horizons.of_state(saved.get("horizon", horizons.to_state(None)), own)
            stop = stops.following(self.stop, own, horizon)
            standing = Standing.of_state(saved, self.rule, posterior, stop, self._params(), zero, horizon)
            self._watch.load(watch, self._params())
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise of_another(error) from None
        self._standing, self.stop = standing, stop
        for group, options in zip(self.param_groups, packed, strict=True):
            group.update({name: value for name, value in options.items() if name != "params"})
        self._list_cohorts()
        for post_hook in self._optimizer_load_state_dict_post_hooks.values():
            post_hook(self)

    def __getstate__(self) -> dict[str, Any]:
        """For ``copy`` and ``pickle``: without hooks, as in ``torch.optim``, and a scheduler's wrapper of ``step``."""
        return {name: value for name, value in vars(self).items() if name != "step" and not name.endswith("_hooks")}
