"""Two processes with gloo: replicas, their checkpoints, and what is sharded."""

from __future__ import annotations

import pytest

from tests.helpers.preloaded import python

TWO_RANKS = """
import sys, traceback, torch
import torch.distributed.checkpoint as dcp
from torch import distributed, multiprocessing, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from probact import LearnedOptimizer

def made(seed=0):
    torch.manual_seed(seed)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 1)))
    groups = [{"params": model.module[0].parameters(), "lr": 0.5}, {"params": model.module[2].parameters()}]
    optimizer = LearnedOptimizer.from_pretrained(groups, "subspace-mlp", stop=None, total_steps=20)
    return model, optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, 1.0, 6)

def go(loop, batches):
    model, optimizer, schedule = loop
    for parts in batches:
        optimizer.zero_grad()
        for place, inputs in enumerate(parts):
            model.require_backward_grad_sync = place == len(parts) - 1  # as model.no_sync() does
            loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean() / len(parts)
            loss.backward()
            optimizer.add_loss(loss)
        optimizer.step()
        schedule.step()
    return nn.utils.parameters_to_vector(model.parameters()).detach()

def equal_on_both(mine):
    both = [torch.zeros_like(mine) for _ in range(2)]
    distributed.all_gather(both, mine)
    return torch.equal(*both)

def accumulates(batches, folder):
    assert equal_on_both(go(made(), batches))
    assert not equal_on_both(torch.stack([part.sum() for parts in batches for part in parts]))

def resumes(batches, folder):
    loop, other = made(), made(seed=1)
    go(loop, batches[:4])
    loop[1].zero_grad()
    weights, state = get_state_dict(*loop[:2])
    dcp.save({"model": weights, "optimizer": state, "schedule": loop[2].state_dict()}, checkpoint_id=folder)
    weights, state = get_state_dict(*other[:2])
    content = {"model": weights, "optimizer": state, "schedule": other[2].state_dict()}
    dcp.load(content, checkpoint_id=folder)
    set_state_dict(*other[:2], model_state_dict=content["model"], optim_state_dict=content["optimizer"])
    other[2].load_state_dict(content["schedule"])
    assert other[1].num_steps == 4
    assert [group["lr"] for group in other[1].param_groups] == [group["lr"] for group in loop[1].param_groups]
    expected = go(loop, batches[4:])
    assert torch.equal(go(other, batches[4:]), expected) and equal_on_both(expected)

def refuses_shards(batches, folder):
    model = nn.Linear(8, 4)
    fully_shard(model)
    optimizer = LearnedOptimizer.from_pretrained(model.parameters(), "subspace-mlp", stop=None)
    loss = model(batches[0][0]).square().mean()
    loss.backward()
    try:
        optimizer.step(loss)
    except ValueError as error:
        assert str(error) == "parameter 0: expected all of it on each rank, got a shard (DTensor)", error
    else:
        raise AssertionError("a shard was taken")

def rank(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    draws = torch.Generator().manual_seed(rank)
    batches = [[torch.randn(8, 8, generator=draws) for _ in range(2)] for _ in range(8)]
    for check in (accumulates, resumes, refuses_shards):
        try:
            check(batches, f"{folder}/saved")
            print(f"{check.__name__} on rank {rank}" + chr(10), end="", flush=True)  # in one piece: both write
        except Exception:
            traceback.print_exc()
    distributed.destroy_process_group()

multiprocessing.start_processes(rank, (sys.argv[1],), 2, start_method="fork")
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("ranks")
    quiet = "import warnings; warnings.simplefilter('ignore')\n"
    return python(folder, quiet + TWO_RANKS, str(folder)).communicate(timeout=240)


@pytest.mark.parametrize("check", ["accumulates", "resumes", "refuses_shards"])
def test_on_two_ranks(check: str, said: tuple[str, str]) -> None:
    """Accumulation with ``no_sync``; a distributed checkpoint, bit for bit; a model under FSDP2."""
    out, error = said
    for rank in range(2):
        assert f"{check} on rank {rank}" in out, error
