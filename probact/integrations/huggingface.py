"""Stop a Hugging Face ``Trainer`` where another evaluation is not worth its price, or where its optimizer says.

Needs ``probact[huggingface]``.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from probact.integrations.base import Watcher, missing, weights_of
from probact.monitoring.monitor import HaltingMonitor
from probact.support.extras import needed

with needed():
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

FILE = "probact_halting.pt"
"""In each checkpoint: where the callback stood."""


class HaltingCallback(TrainerCallback):
    """In place of ``EarlyStoppingCallback``: a look at each evaluation; ``load_best_model_at_end`` is not needed.

    Training ends with the best weights; after Ctrl-C or an error, on which the library calls no callback,
    ``put_back_best(model)`` puts them back.  Each checkpoint of the trainer has a file that carries where the callback
    stands, and these weights: ``train(resume_from_checkpoint=True)`` decides as a training that was not cut off.
    ``train`` without it begins anew.  The trainer's metrics are those of all ranks, so they stop together.
    The copy of the weights is on the CPU: where the model is too large for that say ``restore_best=False``.

    :param price: what an evaluation has to bring, in units of the metric.
    :param metric: with or without "eval_"; None: ``metric_for_best_model`` of the training arguments, or the loss.
    :param greater_is_better: None: as the training arguments say.
    :param check_finite: stop at the first value that is not finite; else such looks count as ones that brought nothing.
    :param restore_best: put the best weights back at the end.
    :param options: further settings of ``HaltingMonitor``, such as ``relative``, ``minimum_looks``, ``maximum_looks``.
    :raises ValueError: if one of these is not what it has to be; in ``train`` if there is no such metric.
    """

    def __init__(
        self,
        price: float,
        metric: str | None = None,
        greater_is_better: bool | None = None,
        *,
        check_finite: bool = False,
        restore_best: bool = True,
        **options: Any,
    ) -> None:
        self.price, self.metric, self.greater_is_better = price, metric, greater_is_better
        self.options = {"check_finite": check_finite, **options}
        self.restore_best = restore_best
        self.watcher = self._watcher("eval_loss", "min")
        self._is_training = False
        self._missing: ValueError | None = None

    def _watcher(self, metric: str, mode: str) -> Watcher[dict[str, Tensor]]:
        return Watcher(self.price, metric, mode, **self.options)

    @property
    def monitor(self) -> HaltingMonitor:
        """What follows the metric."""
        return self.watcher.monitor

    @property
    def stop_reason(self) -> str | None:
        """Why it stopped, in words; None before."""
        return self.watcher.stop_reason

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin, or go on where the checkpoint that is resumed from stood."""
        metric = self.metric or args.metric_for_best_model or "loss"
        greater = args.greater_is_better if self.greater_is_better is None else self.greater_is_better
        self.watcher = self._watcher(f"eval_{metric.removeprefix('eval_')}", "max" if greater else "min")
        self._is_training, self._missing = True, None
        if state.global_step:
            file = _folder(args, state) / FILE
            if file.is_file():
                self.watcher.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
            else:
                warnings.warn(f"{file}: not there, so the looks begin at step {state.global_step}", stacklevel=2)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Look."""
        metrics, metric = kwargs["metrics"], self.watcher.metric
        if not self._is_training:
            return
        if metric not in metrics:  # of another of several evaluation sets, perhaps
            self._missing = missing(metric, metrics)
            return
        model, restore = kwargs["model"], self.restore_best
        stops = self.watcher.look(
            metrics[metric], lambda: weights_of(model) if restore else {}, say=state.is_world_process_zero
        )
        control.should_training_stop = control.should_training_stop or stops

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """:raises ValueError: if no evaluation had the metric."""
        if self._missing and not self.monitor.num_looks:
            raise self._missing

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save where it stands into the checkpoint."""
        folder = _folder(args, state)
        if state.is_world_process_zero and folder.is_dir():
            torch.save(self.watcher.state_dict(), folder / FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the best weights back."""
        self._is_training = False
        if not self.monitor.num_looks:
            none = "no evaluation to look at: say eval_strategy in the training arguments"
            warnings.warn(str(self._missing or none), stacklevel=2)
        if self.restore_best and self.watcher.best:
            self.put_back_best(kwargs["model"])

    def put_back_best(self, model: nn.Module) -> None:
        """The best weights so far into ``model``.

        :raises ValueError: if there are none.
        """
        model.load_state_dict(self.watcher.to_put_back())


class LearnedTrainer(Trainer):
    """A ``Trainer`` with ``optimizers=(LearnedOptimizer(...), scheduler)``, which wants to see the loss of its steps.

    The library's own hands over none.  Of accumulated batches it is told the sum of what is descended, and the training
    ends where the optimizer stops.  For another subclass of ``Trainer``: ``class Mine(LearnedTrainer, SFTTrainer)``.
    Gradients are clipped at 1 unless the training arguments say ``max_grad_norm=0``: the rule then sees short ones.

    :raises ValueError: if ``optimizers`` has no such optimizer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(self.optimizer, "add_loss"):
            got = "none" if self.optimizer is None else type(self.optimizer).__name__
            raise ValueError(f"optimizers: expected a LearnedOptimizer and its scheduler or None, got {got}")
        self.add_callback(_StopsWith(self.optimizer))

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Tell the loss of this part of a batch; the first one forgets those of a step that was left out."""
        learned: Any = getattr(self.optimizer, "optimizer", self.optimizer)
        if all(param.grad is None for group in learned.param_groups for param in group["params"]):
            learned.zero_grad()
        loss: Tensor = super().training_step(*args, **kwargs)
        learned.add_loss(loss)
        return loss


class _StopsWith(TrainerCallback):
    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_training_stop = control.should_training_stop or self.optimizer.should_stop()


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
