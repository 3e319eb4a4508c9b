#!/usr/bin/env bash
# torch and tensors that lie in memory with channels last. Expected: taking some images or some channels
# keeps the layout, as `flip`, `roll`, `cat` and arithmetic do. Seen with 2.11.0 on a CPU: `x[images]` keeps
# it and `x.index_select(0, images)` does not, though their values are equal. Channels first come also from
# `x[:, channels]`, `gather`, `take_along_dim`, `repeat` and `repeat_interleave`; the next convolution
# then copies its input.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.11.0 numpy
"$folder/venv/bin/python" - <<'PROGRAM'
import sys

import torch

x = torch.randn(4, 8, 6, 6).to(memory_format=torch.channels_last)
images, channels = torch.tensor([2, 0, 3]), torch.tensor([0, 2, 5])
some = torch.tensor([True, False] * 4)
spread = channels.view(1, 3, 1, 1)

loses = {
    "index_select, images": x.index_select(0, images),
    "index_select, channels": x.index_select(1, channels),
    "index of numbers, channels": x[:, channels],
    "index of truth values": x[:, some],
    "gather": x.gather(1, spread.expand(4, 3, 6, 6)),
    "take_along_dim": torch.take_along_dim(x, spread, 1),
    "repeat": x.repeat(2, 1, 1, 1),
    "repeat_interleave": x.repeat_interleave(2, 0),
}
keeps = {
    "index of numbers, images": x[images],
    "flip": x.flip(1),
    "roll": x.roll(1, 1),
    "cat": torch.cat([x, x], 1),
    "where": torch.where(x > 0, x, 0),
    "product": x * x[:, :1],
}


def last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last)


print("torch", torch.__version__)
for name, tensor in (loses | keeps).items():
    print(f"{name}: channels {'last' if last(tensor) else 'first'}")
sys.exit(any(map(last, loses.values())) or not all(map(last, keeps.values())))
PROGRAM
