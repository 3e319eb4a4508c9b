"""What stands in the tables, against numbers computed here by other means."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pdnas.report import catalogue, formats
from pdnas.report.claims import claims
from pdnas.report.collect import collect
from pdnas.report.formats import NOT_RUN, Cell, Table, text
from pdnas.report.paper.reported import paper
from pdnas.space.cells import CellSpace
from pdnas.space.posterior import CategoricalPosterior
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json
from pdnas.support.statistics import Interval
from pdnas.truth.tables.nasbench201 import NasBench201

from ..conftest import (
    FINETUNED_TEST,
    GUIDED_TEST,
    HARDWARE,
    RANDOM_TEST,
    SPEEDUPS,
    Tree,
    guided_accuracies,
)


def make(name: str, tree: Tree) -> Table:
    return catalogue.table(name, collect(tree.scale_name, tree.folder))


def records(table: Table) -> list[dict[str, Cell]]:
    keys = [column.key for column in table.columns]
    return [dict(zip(keys, row, strict=True)) for row in table.rows]


def row_of(table: Table, **wanted: Any) -> dict[str, Cell]:
    found = [record for record in records(table) if all(record[k] == v for k, v in wanted.items())]
    assert len(found) == 1, (wanted, found)
    return found[0]


def assert_interval(cell: Cell, values: Any) -> None:
    """The cell is the mean of ``values`` with its t-interval by scipy's own functions."""
    assert isinstance(cell, Interval)
    values = np.asarray(values, dtype=float)
    mean, half = values.mean(), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert (cell.estimate, cell.low, cell.high) == pytest.approx((mean, mean - half, mean + half))
    assert cell.count == len(values)


# --- the paper's numbers ---


@pytest.mark.parametrize(
    ("number", "file", "columns"),
    [
        (1, "table1_cifar10", {"test_error_pct", "gpu_days", "params_m"}),
        (2, "table2_cifar100", {"test_error_pct", "gpu_days", "params_m"}),
        (3, "table3_guided_vs_random", {"test_error_pct", "params_m"}),
        (4, "table4_weight_prior", {"test_error_pct", "params_m"}),
        (5, "table5_temperature", {"test_error_pct"}),
        (6, "table6_num_candidates", {"test_error_pct", "extra_gpu_days"}),
        (8, "table8_imagenet", {"top1_error_pct", "top5_error_pct", "gpu_days", "params_m"}),
        (9, "table9_imagenet_resnet50", {"top1_error_pct", "params_m"}),
    ],
)
def test_reported_numbers_are_the_csv_files_own(
    number: int, file: str, columns: set[str], tree: Tree
) -> None:
    table = make(str(number), tree)
    source = paper(file)
    for name in columns:
        ours = sorted(
            cell for record in records(table) if isinstance(cell := record[f"paper_{name}"], float)
        )
        assert ours == sorted(source[name].dropna())


def test_table7_reports_percent(tree: Tree) -> None:
    table = make("7", tree)
    reported = {(r["supernet"], r["level"]): r["paper_dropped_pct"] for r in records(table)}
    assert len(reported) == 8
    assert reported["MI*", "channel"] == pytest.approx(44)
    assert reported["M", "operation"] == pytest.approx(10)
    assert reported["EI", "operation"] == pytest.approx(21)


def test_reported_and_measured_never_share_a_column(tree: Tree) -> None:
    for name in catalogue.TABLES:
        for column in make(name, tree).columns:
            if column.key.startswith("paper_"):
                assert column.group == formats.PAPER
            if column.key.startswith("ours_"):
                assert column.group == formats.OURS


# --- measured numbers ---


def test_table3(tree: Tree) -> None:
    table = make("3", tree)
    for method, accuracies in (
        ("PGNAS", GUIDED_TEST),
        ("random w/o FT", RANDOM_TEST),
        ("random w/ FT", FINETUNED_TEST),
    ):
        row = row_of(table, supernet="M", method=method)
        assert_interval(row["ours_test_error_pct"], 100 * (1 - np.array(accuracies)))
        assert row["ours_study"] == "branches"
        assert row["ours_seeds"] == 3
    guided = row_of(table, supernet="M", method="PGNAS")
    assert_interval(guided["ours_params_m"], [0.06] * 3)
    assert_interval(guided["ours_minutes"], [(120 + 30 + 12) / 60] * 3)
    tuned = row_of(table, supernet="M", method="random w/ FT")
    assert_interval(tuned["ours_minutes"], [(120 + 30 + 72) / 60] * 3)
    full = row_of(table, supernet="M", method="full model")
    assert_interval(full["ours_params_m"], [0.09] * 3)
    other = row_of(table, supernet="EI", method="PGNAS")
    assert {other[f"ours_{key}"] for key in ("test_error_pct", "params_m", "seeds")} == {NOT_RUN}
    assert other["paper_test_error_pct"] == 2.56
    assert not any(record["method"] == "PGNAS w/ FT" for record in records(table))
    notes = " ".join(table.notes)
    for part in ("width 4", "0.090 M", "1000 training", "Abacus 9000", "0123456789ab", "SupNet-M"):
        assert part in notes


def test_table3_shows_guided_fine_tuning_where_it_was_run(tree: Tree) -> None:
    path = tree.folder / "branches" / "guided" / "seed0"
    tree.result(path, "posterior", "finetune", 0.7)
    row = row_of(make("3", tree), method="PGNAS w/ FT")
    assert row["paper_test_error_pct"] is None
    cell = row["ours_test_error_pct"]
    assert isinstance(cell, Interval)
    assert cell.estimate == pytest.approx(30)
    assert math.isnan(cell.low)
    assert row["ours_seeds"] == 1


def test_table1_names_our_searches_by_supernet_and_candidates(tree: Tree) -> None:
    table = make("1", tree)
    row = row_of(table, method="PGNAS-M (60 candidates)")
    assert_interval(row["ours_test_error_pct"], 100 * (1 - np.array(GUIDED_TEST)))
    assert row["paper_test_error_pct"] is None
    paper = row_of(table, method="PGNAS-MI* (10000 candidates)")
    assert paper["ours_test_error_pct"] == NOT_RUN


def test_table2_takes_cifar100_only(tree: Tree) -> None:
    table = make("2", tree)
    assert {record["ours_test_error_pct"] for record in records(table)} == {NOT_RUN}


def test_table4_has_the_variants_in_l2_alone(tree: Tree) -> None:
    table = make("4", tree)
    assert [record["length_scale2"] for record in records(table)] == [50, 150, 250, 500]
    assert_interval(
        row_of(table, length_scale2=500)["ours_test_error_pct"], 100 * (1 - np.array(GUIDED_TEST))
    )
    weak = row_of(table, length_scale2=50)
    assert weak["ours_seeds"] == 1
    assert text(weak["ours_test_error_pct"], table.columns[4]) == "35.00"
    assert row_of(table, length_scale2=150)["ours_test_error_pct"] == NOT_RUN


def test_table5_pairs_temperatures_as_the_paper_writes_them(tree: Tree) -> None:
    path = tree.search("branches", "warm", 0)
    tree.result(path, "posterior", "none", 0.55)
    tree.result(path, "posterior", "finetune", 0.58)
    table = make("5", tree)
    tuned = row_of(table, supernet="M", temperature="2/3", finetuned="yes")
    assert isinstance(tuned["ours_test_error_pct"], Interval)
    assert tuned["ours_test_error_pct"].estimate == pytest.approx(42)
    warm = row_of(table, supernet="M", temperature="2/3", finetuned="no")
    assert warm["paper_test_error_pct"] == 2.49
    assert isinstance(warm["ours_test_error_pct"], Interval)
    assert warm["ours_test_error_pct"].estimate == pytest.approx(45)
    cold = row_of(table, supernet="M", temperature="1/5", finetuned="no")
    assert_interval(cold["ours_test_error_pct"], 100 * (1 - np.array(GUIDED_TEST)))
    assert row_of(table, supernet="EI", finetuned="yes")["ours_test_error_pct"] == NOT_RUN


def test_table6(tree: Tree) -> None:
    table = make("6", tree)
    assert [r["candidates"] for r in records(table)] == [
        1, 10, 50, 60, 500, 1500, 5000, 10000, 20000,
    ]  # fmt: skip
    accuracies = [guided_accuracies(seed) for seed in range(3)]
    single = row_of(table, candidates=1)
    key = "ours_expected_validation_error_pct"
    assert_interval(single[key], [100 * (1 - values.mean()) for values in accuracies])
    assert single["ours_test_error_pct"] == NOT_RUN
    every = row_of(table, candidates=60)
    assert_interval(every[key], [100 * (1 - values.max()) for values in accuracies])
    assert_interval(every["ours_test_error_pct"], 100 * (1 - np.array(GUIDED_TEST)))
    fifty = row_of(table, candidates=50)
    assert fifty["paper_test_error_pct"] == 2.17
    assert_interval(fifty["ours_minutes"], [50 * 30 / 60 / 60] * 3)
    means = [record[key] for record in records(table)[:4]]
    assert all(
        a.estimate > b.estimate
        for a, b in itertools.pairwise(means)
        if isinstance(a, Interval) and isinstance(b, Interval)
    )
    assert row_of(table, candidates=500)[key] == NOT_RUN
    assert any("more than 60 candidates were not run" in note for note in table.notes)
    assert any("0.5 s on this hardware, so 20000 would take 2.8 hours" in n for n in table.notes)


def test_table7_is_about_the_chosen_candidate(tree: Tree) -> None:
    table = make("7", tree)
    channel = row_of(table, supernet="M", level="channel")
    assert_interval(channel["ours_dropped_pct"], [30, 25, 20])
    assert_interval(row_of(table, supernet="M", level="operation")["ours_dropped_pct"], [10] * 3)
    assert row_of(table, supernet="E", level="channel")["ours_dropped_pct"] == NOT_RUN


def test_tables_8_and_9_are_not_run(tree: Tree) -> None:
    for number in ("8", "9"):
        for record in records(make(number, tree)):
            cells = {k: v for k, v in record.items() if k.startswith("ours_")}
            assert cells.pop("ours_study") is None
            assert set(cells.values()) == {NOT_RUN}


PAPER_SCALE = """
description: Made up
studies:
  mi-cifar100:
    stands_for: MI
    seeds: [0]
    base: &base
      data: {name: cifar100, train: 1000, validation: 200}
      supernet: {name: multibranch, width: 4, blocks: 1}
      training: {epochs: 2, batch: 50, learning_rate: 0.1}
      gates: {length_scale2: 500}
      candidates: {count: 2}
    variants: {guided: {}, constant: {gates: {prior: constant}}}
  more:
    stands_for: MI
    seeds: [0]
    base: {<<: *base, data: {name: cifar10, validation: 200}}
    variants: {guided: {}, many: {candidates: {count: 3}}}
  r50:
    stands_for: R-50
    seeds: [0, 1]
    base: {<<: *base, data: {name: imagenet, validation: 200}, supernet: {name: resnet}}
    variants:
      guided: {}
      full: {gates: {mode: none}}
      plain: {supernet: {kernels: [3]}, gates: {mode: none}}
  d121:
    stands_for: D-121
    seeds: [0]
    base: {<<: *base, data: {name: imagenet, validation: 200}, supernet: {name: densenet}}
    variants: {guided: {}}
"""


@pytest.fixture
def paper_tree(tmp_path: Path) -> Tree:
    """Runs of every variant, whose test accuracy is 0.5 plus a hundredth for each run before it."""
    path = tmp_path / "made-up.yaml"
    path.write_text(PAPER_SCALE)
    tree = Tree(tmp_path / "runs", str(path))
    number = 0
    for study, content in tree.scale.studies.items():
        for variant in content.variants:
            spec = tree.scale.spec(study, variant)
            for seed in content.seeds_of(variant):
                folder = tree.search(study, variant, seed)
                source = "full" if spec.gates.mode == "none" else "posterior"
                if source == "posterior":
                    tree.rank(folder, source, [0.5] * spec.candidates.count)
                tree.result(folder, source, "none", 0.5 + 0.01 * number)
                number += 1
    return tree


def test_a_constant_l2_term_is_held_against_the_weighted_one(paper_tree: Tree) -> None:
    found = claims(collect(paper_tree.scale_name, paper_tree.folder))
    (each,) = (each for each in found if "constant L2 term" in each.question)
    assert (each.study, each.measured, each.seeds) == ("mi-cifar100", "-1.00 points", 1)
    assert (each.paper, each.claimed) == ("weighted is better", "above")


def estimates(table: Table, key: str, error: str) -> dict[str, float]:
    """Where something was measured: its error by the column ``key``."""
    return {
        str(record[key]): round(cell.estimate, 6)
        for record in records(table)
        if isinstance(cell := record[error], Interval)
    }


def test_table2_has_the_constant_l2_term(paper_tree: Tree) -> None:
    found = estimates(make("2", paper_tree), "method", "ours_test_error_pct")
    assert found == {"PGNAS-MI": 50, "PGNAS-MI + constant L2 term": 49}


def test_table6_takes_the_variant_with_most_candidates(paper_tree: Tree) -> None:
    found = estimates(make("6", paper_tree), "candidates", "ours_test_error_pct")
    assert found["3"] == 47
    assert len(found) > 1, "the variants with fewer candidates were tested too"


@pytest.mark.parametrize("number", ["3", "4", "5", "6", "7"])
def test_other_data_sets_are_in_no_table_about_cifar10(number: str, paper_tree: Tree) -> None:
    scale = paper_tree.scale
    for record in records(make(number, paper_tree)):
        if (study := record["ours_study"]) is not None:
            assert scale.spec(str(study), "guided").data.name == "cifar10"


def test_tables_8_and_9_on_imagenet(paper_tree: Tree) -> None:
    error = "ours_top1_error_pct"
    assert estimates(make("8", paper_tree), "method", error) == {"PGNAS-D-121": 40}
    top5 = estimates(make("8", paper_tree), "method", "ours_top5_error_pct")
    assert top5 == {"PGNAS-D-121": 20}  # half the top-1 error, as the records have it
    found = estimates(make("9", paper_tree), "model", error)
    assert found == {"PGNAS-R-50": 45.5, "Inflated ResNet-50": 43.5, "ResNet-50": 41.5}


def test_ablations_need_no_code_of_their_own(tree: Tree) -> None:
    table = make("ablations", tree)
    settings = [(r["setting"], r["value"], r["variant"]) for r in records(table)]
    assert settings == [
        ("gates.length_scale2", "500", "guided"),
        ("gates.length_scale2", "50", "weak-prior"),
        ("gates.temperature", "0.2", "guided"),
        ("gates.temperature", "0.666667", "warm"),
        ("gates.form", "paper", "guided"),
        ("gates.form", "official", "official"),
    ]
    assert row_of(table, variant="warm")["ours_test_error_pct"] == NOT_RUN
    assert_interval(
        row_of(table, setting="gates.form", value="paper")["ours_validation_error_pct"], [60] * 3
    )


def test_efficiency(
    tree: Tree, truth: NasBench201, cell_posteriors: list[CategoricalPosterior]
) -> None:
    table = make("efficiency", tree)
    accuracy = truth.accuracy()
    q = [posterior.architecture_probabilities() for posterior in cell_posteriors]
    for target in (0.93, 0.935, 0.94):
        row = row_of(table, quantity=f"expected samples to {100 * target:.1f} % on cifar10")
        good = accuracy >= target
        assert row["uniform"] == pytest.approx(len(good) / good.sum())
        learned, ratio = row["learned"], row["ratio"]
        assert isinstance(learned, Interval)
        assert isinstance(ratio, Interval)
        samples = np.array([1 / each[good].sum() for each in q])
        assert learned.estimate == pytest.approx(stats.gmean(samples))
        logs = np.log(len(good) / good.sum() / samples)
        low, high = np.exp(stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs)))
        most = len(good) / good.sum()  # one sample is the least that it can take
        assert (ratio.low, ratio.high) == pytest.approx((low, min(high, most)))
    assert_interval(
        row_of(table, quantity="true accuracy of a sample, mean [%]")["learned"],
        [100 * each @ accuracy for each in q],
    )
    space = CellSpace()
    chosen = [  # the twentieth candidate was ranked best
        space.ids(posterior.sample(20, seed).choices["cell"].numpy()[-1])
        for seed, posterior in enumerate(cell_posteriors)
    ]
    modes = [
        space.ids(posterior.mode().choices["cell"].numpy())[0] for posterior in cell_posteriors
    ]
    assert_interval(
        row_of(table, quantity="true accuracy of the mode [%]")["learned"], 100 * accuracy[modes]
    )
    row = row_of(table, quantity="true accuracy of the chosen cell [%]")
    assert_interval(row["learned"], 100 * accuracy[chosen])
    assert row["uniform"] is None


def test_extraction_compares_with_the_whole_supernet(tree: Tree) -> None:
    (row,) = records(make("extraction", tree))
    assert (row["study"], row["variant"], row["ours_seeds"]) == ("branches", "guided", 3)
    assert row["ours_supernet_params_m"] == pytest.approx(0.1)
    assert_interval(row["ours_masked_share_pct"], [60, 60, 60])
    assert_interval(row["ours_extracted_share_pct"], [40, 50, 60])
    assert_interval(row["ours_arithmetic_pct"], [50, 50, 50])
    assert_interval(row["ours_speedup"], SPEEDUPS)


def test_code_and_hardware_are_those_of_every_record(tree: Tree) -> None:
    folder = tree.folder / "branches" / "guided" / "seed1"
    for name, key, value in (
        ("ranking-posterior.json", "code", "0.1.0 of the ranking"),
        ("subnet/subnet.json", "hardware", HARDWARE | {"cpu": "Another"}),
    ):
        record = read_json(folder / name)
        record["provenance"][key] = value
        write_json(folder / name, record)
    notes = make("3", tree).notes
    assert "Hardware: Abacus 9000, 1 thread; Another, 1 thread." in notes
    assert "Code: 0.1.0 0123456789ab; 0.1.0 of the ranking." in notes


def test_table7_takes_as_many_candidates_as_the_paper_s_starred_run(tree: Tree) -> None:
    scale = Path(tree.scale_name)
    text = scale.read_text().replace("stands_for: M", "stands_for: MI")
    text = text.replace("guided: {}\n", "guided: {}\n      many: {candidates: {count: 10000}}\n", 1)
    scale.write_text(text)

    def starred() -> Cell:
        return row_of(make("7", tree), supernet="MI*", level="channel")["ours_dropped_pct"]

    assert_interval(starred(), [30, 25, 20])  # guided, before there are as many
    tree.rank(tree.search("branches", "many", 0), "posterior", [0.5, 0.6], kept_channels=0.2)
    made = starred()
    assert isinstance(made, Interval)
    assert made.estimate == pytest.approx(80)


def test_nothing_run(empty_tree: Tree) -> None:
    for name in catalogue.TABLES:
        table = make(name, empty_tree)
        assert table.rows
        assert "Nothing of this table was run at this scale." in table.notes
        measured = {
            cell
            for row in table.rows
            for cell, column in zip(row, table.columns, strict=True)
            if column.group == formats.OURS and not column.is_text
        }
        assert measured == {NOT_RUN}


def test_an_unknown_table_is_one_clear_line(empty_tree: Tree) -> None:
    with pytest.raises(PdnasError, match=r"no table '10'; choose one of table1"):
        make("10", empty_tree)
