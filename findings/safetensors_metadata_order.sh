#!/usr/bin/env bash
# safetensors and the bytes of a file. Expected: equal tensors and equal metadata give equal files, since
# the format's header is JSON and tensors have a defined order. Seen with 0.8.0: with two or more entries
# of metadata their order in the header is random from one call to the next, so the SHA-256 of equal
# content differs; with one entry, or none, all files are equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet safetensors==0.8.0 numpy
"$folder/venv/bin/python" - <<'PROGRAM'
import hashlib
import sys

import numpy as np
import safetensors
from safetensors.numpy import save

tensors = {"a": np.arange(4.0), "b": np.ones(3)}


def distinct_files(entries):
    metadata = {f"key{number}": "same" for number in range(entries)}
    return len({hashlib.sha256(save(tensors, metadata)).hexdigest() for _ in range(200)})


seen = {entries: distinct_files(entries) for entries in (0, 1, 3)}
print("safetensors", safetensors.__version__)
print("expected: 1 file, however often it is written")
for entries, files in seen.items():
    print(f"{entries} entries of metadata: {files} different files of 200 written")
as_found = seen[0] == seen[1] == 1 and seen[3] > 1
sys.exit(0 if as_found else "this has changed")
PROGRAM
