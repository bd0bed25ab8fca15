"""Several processes that train one optimizer together: ``torchrun --nproc-per-node N cli.py fit ...``.

Every rank samples the whole batch of L problems and unrolls its own part of it.  What the ranks found is added up once
a meta-step.  So the result is that of one process up to rounding, whatever their number: in single precision for some
20 to 40 meta-steps.  Sums in another order round otherwise, and an unroll of H steps and Adam, which divides a gradient
by its own size, let the difference grow from meta-step to meta-step.  After that the weights differ, and are as good.

``DistributedDataParallel`` would gain nothing: the weights are few, so there is nothing to overlap.  And the exact mean
over the problems that did not diverge weighs each rank by a number that is known only after its unroll.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn

import torch
from torch import Tensor, distributed

from probact.support.lost import ProcessLostError

TIMEOUT = timedelta(minutes=5)
"""How long a rank waits for another that is alive but silent: rank 0 may be tuning a learning rate."""
GRACE_SECONDS = 15.0
"""The same once it was asked to stop; torchrun kills 30 s after it asked."""
POLL_SECONDS = 1e-4


class Ranks:
    """The processes of a run, seen from one of them; by default there is only this one, and nothing is exchanged.

    :ivar rank: which one this is; rank 0 alone prints and writes.
    :ivar asked: not empty once this process was asked to stop; all stop after the same meta-step.  The end of the
        process that started several of them asks them too.
    """

    def __init__(self, rank: int = 0, num_ranks: int = 1) -> None:
        self.rank = rank
        self.num_ranks = num_ranks
        self.asked: Sequence[int] = ()
        self._agreed = False
        self._parent = os.getppid()

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.num_ranks == 1

    def part(self, num: int) -> range:
        """Which of ``num`` problems are this rank's: neighbours, and no rank has two more than another.

        >>> [Ranks(rank, 3).part(8) for rank in range(3)]
        [range(0, 2), range(2, 5), range(5, 8)]
        """
        return range(num * self.rank // self.num_ranks, num * (self.rank + 1) // self.num_ranks)

    def is_asked(self) -> bool:
        """Whether this process was asked to stop."""
        return bool(self.asked) or (not self.alone and os.getppid() != self._parent)

    def should_stop(self) -> bool:
        """Whether any rank had been asked to stop at the last exchange; the same answer on all of them."""
        return self.is_asked() if self.alone else self._agreed

    def mean(self, values: Tensor, weight: int, counts: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Mean of ``values (num,)`` over the ranks, each with its ``weight``, and sum of ``counts``; one exchange.

        A rank with weight 0 adds nothing, whatever its values; the mean is NaN if all weights are 0.

        :raises ProcessLostError: if another rank is gone.
        """
        weighted = weight * values.double() if weight else torch.zeros_like(values, dtype=torch.float64)
        total = torch.cat([weighted, weighted.new_tensor([weight, *counts, self.is_asked()])])
        self._finish(lambda: distributed.all_reduce(total, async_op=True))
        num, *sums, asked = total[len(values) :].tolist()
        self._agreed = asked > 0
        return total[: len(values)] / num, [int(entry) for entry in sums]

    def broadcast(self, content: Any = None) -> Any:
        """Rank 0's ``content`` (tensors, text, numbers, nested), on the CPU; each rank calls it, the others without.

        :raises ProcessLostError: if another rank is gone.
        """
        if self.alone:
            return content
        buffer = io.BytesIO()
        torch.save(content, buffer)
        sent = [buffer.getvalue() if self.is_main else b""]
        try:
            distributed.broadcast_object_list(sent, src=0, device=torch.device("cpu"))
        except RuntimeError as error:
            raise ProcessLostError(str(error)) from None
        return torch.load(io.BytesIO(sent[0]), map_location="cpu", weights_only=True)

    def dismiss(self) -> None:
        """Rank 0 needs the others no more: it tells them so, and goes on alone."""
        if not self.alone:
            with suppress(ProcessLostError):
                self.broadcast()
                self.leave()

    def leave(self) -> None:
        """Be alone from here on; all ranks do it at once."""
        distributed.destroy_process_group()
        self.num_ranks = 1

    def exit(self, code: int) -> NoReturn:
        """End this process; at once if the others are lost or about to be: gloo would abort, nccl wait for them."""
        if not self.alone:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        sys.exit(code)

    def use_device(self, name: str) -> None:
        """Let ``cuda`` mean the GPU of this rank.

        :raises ValueError: if it is ``cuda`` and there are fewer GPUs than ranks on this machine, or if it is one GPU
            by number, which several ranks cannot share.
        """
        device = torch.device(name)
        if self.alone or device.type != "cuda":
            return
        here, found = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if device.index is not None:
            raise ValueError(f"expected device cuda, of which each of the {here} processes takes its own, got {name}")
        if found < here:
            raise ValueError(f"device cuda: expected a GPU for each of the {here} processes, got {found}")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))

    def _finish(self, begin: Any) -> None:
        """Wait for an exchange; by polling, so that a request to stop is heard meanwhile."""
        patience: float | None = None
        try:
            work = begin()
            while not work.is_completed():
                if self.is_asked():
                    patience = patience or time.monotonic() + GRACE_SECONDS
                    if time.monotonic() > patience:
                        raise ProcessLostError("no answer")
                time.sleep(POLL_SECONDS)
            work.wait()
        except RuntimeError as error:
            raise ProcessLostError(str(error)) from None


def join() -> Ranks:
    """The place of this process among those that torchrun started; alone without torchrun.

    gloo exchanges what is on the CPU, nccl what is on GPUs.
    """
    if not distributed.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        return Ranks()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=TIMEOUT)
    return Ranks(distributed.get_rank(), distributed.get_world_size())
