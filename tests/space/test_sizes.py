"""NATS-Bench's size space: enumeration, names, parameters, distributions."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from pdnas.space.sizes import (
    WIDTHS,
    SizeSpace,
    best_drop,
    largest,
    one_drop_probabilities,
    parameters,
    posterior_probabilities,
    restricted,
    rounded,
    uniform,
    width_probabilities,
    within,
)
from pdnas.support.errors import PdnasError

SPACE = SizeSpace()
FILES = {"Cifar10-NATS.csv": 10, "Cifar100-NATS.csv": 100, "ImageNet-NATS.csv": 120}


def test_networks_are_in_lexicographic_order_and_rows_find_them_again() -> None:
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
def test_a_wrong_name_says_what_is_wrong(name: str, problem: str) -> None:
    with pytest.raises(PdnasError, match=problem) as caught:
        SPACE.row(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("counts", [[8, 8, 8, 8, 9], [8, 8, 8, 8], [8.5] * 5, [0, 8, 8, 8, 8]])
def test_other_widths_have_no_row(counts: list[float]) -> None:
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
def test_parameters_are_the_benchmarks(name: str, classes: int, expected: int) -> None:
    assert SPACE.parameters(classes)[SPACE.row(name)] == expected


def layer_by_layer(c: Sequence[int], classes: int, colours: int = 3) -> int:
    def conv(i: int, o: int, k: int) -> int:
        return i * o * k * k

    def relu_conv_norm(i: int, o: int) -> int:
        return conv(i, o, 3) + 2 * o

    def cell(i: int, o: int) -> int:
        skip = 0 if i == o else conv(i, o, 1) + 2 * o
        return 2 * relu_conv_norm(i, o) + 3 * relu_conv_norm(o, o) + skip

    def block(i: int, o: int) -> int:
        return relu_conv_norm(i, o) + relu_conv_norm(o, o) + conv(i, o, 1)

    stem = conv(colours, c[0], 3) + 2 * c[0]
    body = cell(c[0], c[0]) + block(c[0], c[1]) + cell(c[1], c[2])
    body += block(c[2], c[3]) + cell(c[3], c[4])
    return stem + body + 2 * c[4] + c[4] * classes + classes


def test_parameters_of_any_widths_layer_by_layer() -> None:
    counts = np.random.default_rng(0).integers(1, 12, (300, 5))
    assert ((counts[:, 1] == counts[:, 2]) | (counts[:, 3] == counts[:, 4])).sum() > 30
    expected = [layer_by_layer(row, 7, colours=1) for row in counts.tolist()]
    np.testing.assert_array_equal(parameters(counts, 7, colours=1), expected)


@pytest.mark.parametrize("file", FILES)
def test_parameters_of_every_network_of_the_public_files(file: str) -> None:
    path = Path(os.environ.get("PDNAS_MIRROR", "/nowhere")) / file
    if not path.is_file():
        pytest.skip("the public file is not here")
    with path.open(newline="") as stream:
        published = [int(row["num_param"]) for row in csv.DictReader(stream)]
    np.testing.assert_array_equal(SPACE.parameters(FILES[file]), published)


def test_kept_channels_are_rounded_to_the_nearest_width_and_ties_upwards() -> None:
    assert rounded([0, 3, 8, 11, 12, 13, 19, 20, 59, 60, 64]).tolist() == [
        *[8, 8, 8, 8, 16, 16, 16, 24, 56, 64, 64],
    ]
    for kept in range(65):
        nearest = min(WIDTHS, key=lambda width: (abs(width - kept), -width))
        assert rounded(kept) == nearest
    assert rounded([0, 1, 2, 3, 4, 15, 16], channels=16).tolist() == [8, 8, 8, 16, 16, 64, 64]


@pytest.mark.parametrize("channels", [64, 16])
@pytest.mark.parametrize("drop", [0.0, 0.07, 0.5, 0.98, 1.0])
def test_a_widths_probabilities_by_the_binomials_distribution_function(
    drop: float, channels: int
) -> None:
    of_kept = scipy.stats.binom(channels, 1 - drop)
    expected = []
    for width in WIDTHS:
        fitting = [kept for kept in range(channels + 1) if rounded(kept, channels) == width]
        expected.append(of_kept.cdf(fitting[-1]) - of_kept.cdf(fitting[0] - 1))
    np.testing.assert_allclose(width_probabilities(drop, channels), expected, atol=1e-12)


def test_the_posterior_is_the_product_of_its_widths() -> None:
    drop = [0.05, 0.3, 0.5, 0.7, 0.95]
    found = posterior_probabilities(drop)
    assert found.shape == (32768,)
    assert found.dtype == np.float64
    assert found.sum() == pytest.approx(1, abs=1e-12)
    widths = [dict(zip(WIDTHS, width_probabilities(p), strict=True)) for p in drop]
    for row in np.random.default_rng(0).integers(32768, size=200).tolist():
        counts = SPACE.counts[row].tolist()
        product = np.prod([each[width] for each, width in zip(widths, counts, strict=True)])
        assert found[row] == pytest.approx(product, rel=1e-9)


@pytest.mark.parametrize("channels", [64, 16])
def test_the_posterior_against_sampled_masks(channels: int) -> None:
    drop = np.array([0.1, 0.35, 0.5, 0.6, 0.2])
    generator = np.random.default_rng(1)
    draws = 40_000
    masks = generator.random((draws, 5, channels)) >= drop[:, None]
    rows = SPACE.rows(rounded(masks.sum(axis=2), channels))
    counts = np.bincount(rows, minlength=32768)
    expected = draws * posterior_probabilities(drop, channels)
    often = expected >= 5
    observed = [*counts[often], counts[~often].sum()]
    assert often.sum() > 50
    assert scipy.stats.chisquare(observed, [*expected[often], expected[~often].sum()]).pvalue > 0.01


@pytest.mark.parametrize("drop", [[0.5] * 4, [0.5, 0.5, 0.5, 0.5, 1.5], [0.5] * 4 + [np.nan]])
def test_other_than_five_probabilities_are_refused(drop: list[float]) -> None:
    with pytest.raises(PdnasError, match="five drop probabilities"):
        posterior_probabilities(drop)


@pytest.mark.parametrize("expected", [50_000.0, 200_000.0, 700_000.0])
def test_one_drop_probability_has_the_expected_parameters(expected: float) -> None:
    found = one_drop_probabilities(expected, 10)
    assert found @ SPACE.parameters(10) == pytest.approx(expected, rel=1e-9)
    marginals = found.reshape(8, 8, 8, 8, 8)
    first = marginals.sum(axis=(1, 2, 3, 4))
    for axis in range(1, 5):
        others = tuple(each for each in range(5) if each != axis)
        np.testing.assert_allclose(marginals.sum(axis=others), first, atol=1e-12)


@pytest.mark.parametrize("expected", [1_000.0, 2_000_000.0])
def test_no_network_is_as_small_or_as_large_as_that(expected: float) -> None:
    with pytest.raises(PdnasError, match="networks of 11714 to 713674"):
        one_drop_probabilities(expected, 10)


def test_bands_and_what_lies_in_them() -> None:
    sizes = SPACE.parameters(10)
    band = within((180_000, 220_000))
    assert band.sum() == 4184  # the public table has so many of 180 to 220 thousand
    assert sizes[band].min() >= 180_000
    assert sizes[band].max() <= 220_000
    posterior = posterior_probabilities([0.4] * 5)
    inside = restricted(posterior, band)
    assert inside.sum() == pytest.approx(1, abs=1e-12)
    assert not inside[~band].any()
    ratio = inside[band] / posterior[band]
    np.testing.assert_allclose(ratio, 1 / posterior[band].sum(), rtol=1e-9)
    flat = uniform(band)
    assert set(flat[band]) == {1 / 4184}
    most = largest(sizes, band, 30)
    assert (most > 0).sum() == 30
    assert sizes[most > 0].min() >= np.sort(sizes[band])[-30]
    with pytest.raises(PdnasError, match="no network in this band"):
        restricted(posterior_probabilities([0.0] * 5), band)
    everything = list(itertools.product(WIDTHS, repeat=5))
    assert everything[int(np.argmax(largest(sizes, band, 1)))] == tuple(
        SPACE.counts[np.where(band, sizes, 0).argmax()]
    )


def test_no_drop_probabilities_of_a_grid_beat_the_best() -> None:
    """Values with an optimum inside: a wide c1 is worth much, a wide c4 costs."""
    sizes = SPACE.parameters(10)
    kept = within((180_000, 220_000))
    values = np.log(SPACE.counts) @ [0.1, 1.0, 0.3, 0.2, -0.4]
    best = best_drop(values, kept, 200_000, 10)
    q = posterior_probabilities(best)
    assert q @ sizes == pytest.approx(200_000, rel=1e-3)
    reached = restricted(q, kept) @ values
    grid = [0.15, 0.3, 0.45, 0.6, 0.75]
    tried = 0
    for drop in itertools.product(grid, repeat=5):
        other = posterior_probabilities(drop)
        if abs(other @ sizes / 200_000 - 1) < 0.02:
            tried += 1
            assert restricted(other, kept) @ values < reached + 0.01
    assert tried > 50
    one = restricted(one_drop_probabilities(200_000, 10), kept) @ values
    assert reached > one + 0.3
