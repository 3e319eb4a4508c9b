#!/usr/bin/env bash
# torch and a custom function marked `once_differentiable`. Expected: a second derivative through it
# raises, as the documentation of the mark suggests. Seen with 2.11.0: a second `backward()` raises only
# if the first gradient depends on the function's output; `torch.autograd.grad` of given inputs, and
# nested `torch.func.grad`, return the second derivative without the function's part, and say nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.11.0 numpy
"$folder/venv/bin/python" - <<'PROGRAM'
import sys

import torch
from torch.autograd.function import once_differentiable


class Cube(torch.autograd.Function):
    """x to the third power, by hand."""

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * slope


def loss(x):
    """x^6 + x^2; at 2, its second derivative is 30 * 16 + 2 = 482."""
    return Cube.apply(x) ** 2 + x**2


def by_backward():
    x = torch.tensor(2.0, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(x), x, create_graph=True)
    slope.backward()
    return x.grad.item()


def by_grad():
    x = torch.tensor(2.0, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(x), x, create_graph=True)
    return torch.autograd.grad(slope, x)[0].item()


def by_func():
    return torch.func.grad(torch.func.grad(loss))(torch.tensor(2.0)).item()


def outcome(way):
    try:
        return way()
    except RuntimeError as error:
        return f"raises {type(error).__name__}: {str(error).splitlines()[0]}"


print("torch", torch.__version__)
print("expected: 482.0, or an error")
seen = {way.__name__: outcome(way) for way in (by_backward, by_grad, by_func)}
for name, what in seen.items():
    print(f"{name}: {what}")
as_found = str(seen["by_backward"]).startswith("raises") and seen["by_grad"] == seen["by_func"] == 2.0
sys.exit(0 if as_found else "this has changed")
PROGRAM
