"""NATS-Bench's size space: enumeration, names, parameters."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from pdnas.space.sizes import SizeSpace, parameters
from pdnas.support.errors import PdnasError

SPACE = SizeSpace()
FILES = {"Cifar10-NATS.csv": 10, "Cifar100-NATS.csv": 100, "ImageNet-NATS.csv": 120}


def test_networks_are_in_lexicographic_order_and_rows_find_them_again():
    assert SPACE.counts.shape == (len(SPACE), 5) == (32768, 5)
    as_tuples = [tuple(counts) for counts in SPACE.counts.tolist()]
    assert as_tuples == sorted(set(as_tuples))
    assert SPACE.names[:2] == ("8:8:8:8:8", "8:8:8:8:16")
    assert SPACE.names[-1] == "64:64:64:64:64"
    np.testing.assert_array_equal(SPACE.rows(SPACE.counts), np.arange(32768))
    assert [SPACE.row(SPACE.names[row]) for row in (0, 777, 32767)] == [0, 777, 32767]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("64:64:56:64", "it has 4 widths and not 5"),
        ("64:64:56:64:24:8", "it has 6 widths and not 5"),
        ("64:64:56:64:12", "'12' is none of 8, 16, 24"),
        ("64:64:56:64:x", "'x' is none of 8"),
        ("", "it has 1 widths"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(name, problem):
    with pytest.raises(PdnasError, match=problem) as caught:
        SPACE.row(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("counts", [[8, 8, 8, 8, 9], [8, 8, 8, 8], [8.5] * 5, [0, 8, 8, 8, 8]])
def test_other_widths_have_no_row(counts):
    with pytest.raises(PdnasError, match="a network is 5 widths"):
        SPACE.rows(counts)


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("8:8:8:8:8", 10, 11714),
        ("8:8:8:8:16", 10, 18386),
        ("8:8:8:8:8", 100, 12524),
        ("8:8:8:8:16", 100, 19916),
        ("8:8:8:8:8", 120, 12704),
        ("8:8:8:8:16", 120, 20256),
    ],
)
def test_parameters_are_the_benchmarks(name, classes, expected):
    assert SPACE.parameters(classes)[SPACE.row(name)] == expected


def layer_by_layer(c, classes, colours=3):
    def conv(i, o, k):
        return i * o * k * k

    def relu_conv_norm(i, o):
        return conv(i, o, 3) + 2 * o

    def cell(i, o):
        skip = 0 if i == o else conv(i, o, 1) + 2 * o
        return 2 * relu_conv_norm(i, o) + 3 * relu_conv_norm(o, o) + skip

    def block(i, o):
        return relu_conv_norm(i, o) + relu_conv_norm(o, o) + conv(i, o, 1)

    stem = conv(colours, c[0], 3) + 2 * c[0]
    body = cell(c[0], c[0]) + block(c[0], c[1]) + cell(c[1], c[2])
    body += block(c[2], c[3]) + cell(c[3], c[4])
    return stem + body + 2 * c[4] + c[4] * classes + classes


def test_parameters_of_any_widths_layer_by_layer():
    counts = np.random.default_rng(0).integers(1, 12, (300, 5))
    assert ((counts[:, 1] == counts[:, 2]) | (counts[:, 3] == counts[:, 4])).sum() > 30
    expected = [layer_by_layer(row, 7, colours=1) for row in counts.tolist()]
    np.testing.assert_array_equal(parameters(counts, 7, colours=1), expected)


@pytest.mark.parametrize("file", FILES)
def test_parameters_of_every_network_of_the_public_files(file):
    path = Path(os.environ.get("PDNAS_MIRROR", "/nowhere")) / file
    if not path.is_file():
        pytest.skip("the public file is not here")
    with path.open(newline="") as stream:
        published = [int(row["num_param"]) for row in csv.DictReader(stream)]
    np.testing.assert_array_equal(SPACE.parameters(FILES[file]), published)
