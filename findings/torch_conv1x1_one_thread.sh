#!/usr/bin/env bash
# torch and 1x1 convolutions on one thread of a CPU. Expected: a batch of 15 images takes a little less time
# than one of 16, by the same kernel. Seen with 2.11.0: 15 images take some twice the time of 16. Below 16
# images torch leaves oneDNN for a matrix product image by image, with or without groups. A 3x3 kernel, two
# threads, or a dilation of 2, which changes nothing of a 1x1 kernel, have oneDNN for 15 images as well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.11.0 numpy
"$folder/venv/bin/python" - <<'PROGRAM'
import sys
import time

import torch
from torch.profiler import ProfilerActivity, profile

CHANNELS, SIDE = 256, 14


def convolution(images, kernel=1, **options):
    x = torch.randn(images, CHANNELS, SIDE, SIDE).to(memory_format=torch.channels_last)
    weight = torch.randn(CHANNELS, CHANNELS // options.get("groups", 1), kernel, kernel)
    return lambda: torch.conv2d(x, weight, padding=kernel // 2, **options)


def is_onednn(work):
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    return any(event.key == "aten::mkldnn_convolution" for event in seen.key_averages())


def milliseconds(work):
    times = []
    for _ in range(50):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


print("torch", torch.__version__)
torch.set_num_threads(1)
one = {images: convolution(images) for images in (15, 16)}
for images, work in one.items():
    print(f"1x1, {images} images, one thread: oneDNN {is_onednn(work)}, {milliseconds(work):.2f} ms")
others = {
    "1x1 in 4 groups, 15 images": convolution(15, groups=4),
    "3x3, 15 images": convolution(15, kernel=3),
    "1x1 of dilation 2, 15 images": convolution(15, dilation=2),
}
seen = {name: is_onednn(work) for name, work in others.items()}
seen |= {f"1x1, {images} images": is_onednn(work) for images, work in one.items()}
torch.set_num_threads(2)
seen["1x1, 15 images, two threads"] = is_onednn(one[15])
for name, onednn in seen.items():
    print(f"{name}: oneDNN {onednn}")
expected_slow = {"1x1, 15 images", "1x1 in 4 groups, 15 images"}
sys.exit({name for name, onednn in seen.items() if not onednn} != expected_slow)
PROGRAM
