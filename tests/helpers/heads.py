"""Heads of a monitor that have a mind of their own, for tests that need no trained one."""

from __future__ import annotations

from pathlib import Path

import torch

from probact.monitoring.head import CurveHead


def head_file(folder: Path, bias: float) -> Path:
    """Of random weights but for the bias of the hazard's logit: -30 never stops by itself, 30 at once."""
    torch.manual_seed(0)
    head = CurveHead(nu=0.9, hidden_size=8)
    with torch.no_grad():
        head.posterior.output.bias.fill_(bias)
        for weight in (head.posterior.output.weight, head.expectation.weight):
            weight.normal_()
    head.save(folder / f"head{bias:g}.pt", {})
    return folder / f"head{bias:g}.pt"
