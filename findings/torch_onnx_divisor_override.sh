#!/usr/bin/env bash
# torch's ONNX exporter and an average pool with a divisor of its own. Expected: the file computes what
# the network does, or the export raises, since ONNX's AveragePool has no such attribute. Seen with
# torch 2.11.0: the argument is dropped without a word, and the file divides by the window's size.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.11.0 numpy onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - 2>"$folder/log" <<'PROGRAM' || { cat "$folder/log" >&2; exit 1; }
import io
import sys

import onnxruntime
import torch

pool = torch.nn.AvgPool2d(2, divisor_override=1)  # the sum over each window
images = torch.ones(1, 1, 4, 4)
expected = pool(images)
buffer = io.BytesIO()
torch.onnx.export(pool, (images,), dynamo=True, verbose=False).save(buffer)
session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
(found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})

print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
print("expected:", expected.flatten().tolist(), "or an error")
print("seen:    ", found.flatten().tolist())
sys.exit(0 if (expected == 4).all() and (found == 1).all() else "this has changed")
PROGRAM
