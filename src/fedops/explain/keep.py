"""Leaving things as they were: a model's mode, gradients and buffers, and the random state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards mode, gradients, buffers and ``requires_grad`` as before."""
    modes = {module: module.training for module in model.modules()}
    weights = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, wanted, grad in weights:
            parameter.requires_grad_(wanted)
            parameter.grad = grad
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


@contextmanager
def kept_randomness() -> Iterator[None]:
    """The random state of torch, numpy and Python is the same before and after.

    It belongs to the whole process: not for a thread beside training.
    """
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
