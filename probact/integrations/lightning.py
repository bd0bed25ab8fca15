"""Stop a Lightning ``Trainer`` where another look at a metric is not worth its price, or where its optimizer says.

Needs ``probact[lightning]``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probact.integrations.base import Watcher, read, weights_of
from probact.monitoring.monitor import HaltingMonitor
from probact.support.extras import needed

with needed():
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.trainer.states import TrainerFn


class HaltingCallback(Callback):
    """In place of ``EarlyStopping``: a look after each validation that belongs to ``fit``.

    However the fit ends, by this callback, by itself, by Ctrl-C or by an error, the best weights are put back.  A
    second ``fit`` goes on where the first stood.  A checkpoint carries where it stands, and these weights: a resumed
    fit decides as one that was not cut off.  All ranks look at the mean of their values, so they stop together.  The
    copy of the weights is on the CPU, of each rank; where a model is sharded say ``restore_best=False`` and let
    ``ModelCheckpoint`` keep the best.

    :param price: what a look has to bring, in units of the metric.
    :param metric: as it was logged by ``self.log``.
    :param mode: "min", or "max" for what is the higher the better.
    :param check_finite: stop at the first value that is not finite; else such looks count as ones that brought nothing.
    :param restore_best: put the best weights back at the end.
    :param options: further settings of ``HaltingMonitor``, such as ``relative``, ``minimum_looks``, ``maximum_looks``.
    :raises ValueError: if one of these is not what it has to be; in ``fit`` if there is no such metric.
    """

    def __init__(
        self,
        price: float,
        metric: str = "val_loss",
        mode: str = "min",
        *,
        check_finite: bool = False,
        restore_best: bool = True,
        **options: Any,
    ) -> None:
        self.watcher: Watcher[dict[str, Tensor]] = Watcher(price, metric, mode, check_finite=check_finite, **options)
        self.restore_best = restore_best
        self._after_train_epoch = False

    @property
    def monitor(self) -> HaltingMonitor:
        """What follows the metric."""
        return self.watcher.monitor

    @property
    def stop_reason(self) -> str | None:
        """Why it stopped, in words; None before."""
        return self.watcher.stop_reason

    @property
    def state_key(self) -> str:
        """Of this callback in a checkpoint, beside others of its kind."""
        return self._generate_state_key(metric=self.watcher.metric, mode=self.monitor.mode)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Where each training epoch is validated once, look when both are done: a metric of either is there then."""
        self._after_train_epoch = trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look."""
        if self._after_train_epoch:
            self._look(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, unless it is the sanity check or no fit."""
        if not self._after_train_epoch:
            self._look(trainer, pl_module)

    def _look(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking or trainer.fast_dev_run:
            return
        value = (
            torch.as_tensor(read(trainer.callback_metrics, self.watcher.metric))
            .float()
            .to(trainer.strategy.root_device)
        )
        mean = trainer.strategy.reduce(value, reduce_op="mean")
        stops = self.watcher.look(
            mean, lambda: weights_of(module) if self.restore_best else {}, say=trainer.is_global_zero
        )
        trainer.should_stop = trainer.should_stop or stops

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the best weights back."""
        if self.restore_best and self.watcher.best:
            pl_module.load_state_dict(self.watcher.best)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the best weights back."""
        self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return self.watcher.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there.

        :raises ValueError: if it is of other settings.
        """
        self.watcher.load_state_dict(state_dict)


class LearnedOptimizerCallback(Callback):
    """Ends the training where a ``LearnedOptimizer`` says, and tells it the loss where Lightning hands over less.

    Without it such an optimizer, given back by ``configure_optimizers``, works as any other; but with
    ``accumulate_grad_batches`` it is shown the last part of each batch alone, and with a ``GradScaler`` no loss at all.
    It is for automatic optimization: where that is off it does nothing, and ``optimizer.step(loss=loss)`` is yours.
    """

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Tell the loss, in its own units."""
        if pl_module.automatic_optimization:
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            scale = 1.0 if scaler is None else scaler.get_scale()
            for optimizer in _learned(trainer):
                optimizer.add_loss(loss.detach() / scale)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """End the training if an optimizer has stopped."""
        trainer.should_stop = trainer.should_stop or any(each.should_stop() for each in _learned(trainer))


def _learned(trainer: Trainer) -> list[Any]:
    return [optimizer for optimizer in trainer.optimizers if hasattr(optimizer, "add_loss")]
