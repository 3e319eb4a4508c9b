"""Which studies a table or figure is about, and what part a variant plays, from the scale alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdnas.spec import selection
from pdnas.spec.products import FIGURES, TABLES
from pdnas.spec.roles import roles
from pdnas.spec.scale import SCALES, Scale, load_scale

STUDIES = """
description: Numbers made up for tests
threads: 1
studies:
  branches:
    stands_for: M
    seeds: [0]
    extract: [learned]
    base:
      data: {name: cifar10, train: 1000, validation: 200}
      supernet: {name: multibranch, width: 4, blocks: 1}
      training: {epochs: 2, batch: 50, learning_rate: 0.1}
      gates: {length_scale2: 500}
      candidates: {count: 60}
    variants:
      weak-prior: {gates: {length_scale2: 50}}
      learned: {}
      warm: {gates: {temperature: 2/3}}
      two-changes: {gates: {length_scale2: 3000}, training: {epochs: 3}}
      small: {supernet: {width: 2}, gates: {mode: none}}
      whole: {gates: {mode: none}}
      dice: {gates: {mode: fixed, match: learned}}
  cells:
    seeds: [0]
    base: &cells
      data: {name: cifar10, train: 1000, validation: 200}
      supernet: {name: nasbench201, channels: 4, cells: 1}
      training: {epochs: 4, batch: 50, learning_rate: 0.1}
      gates: {temperature: 1, length_scale2: 0}
      candidates: {count: 20}
    variants:
      guided: {}
      uniform: {gates: {mode: fixed}}
  sizes:
    target: truths
    seeds: [0]
    base:
      data: {name: cifar10, train: 1000, validation: 200}
      supernet: {name: natsbench-size, width: 16}
      training: {epochs: 2, batch: 50, learning_rate: 0.1}
      gates: {length_scale2: 0}
      candidates: {count: 20, band: [180000, 220000]}
    variants:
      guided: {}
      one-p: {gates: {mode: fixed}}
  rivals:
    target: nasbench
    seeds: [0]
    base: *cells
    variants:
      gdas: {}
"""


@pytest.fixture
def scale(tmp_path: Path) -> Scale:
    (tmp_path / "made-up.yaml").write_text(STUDIES)
    return load_scale(str(tmp_path / "made-up.yaml"))


def test_roles_follow_from_the_specification(scale: Scale) -> None:
    assert roles(scale, "branches") == ("learned", "dice", "whole", "small")
    assert roles(scale, "cells") == ("guided", None, None, None)
    assert roles(scale, "rivals") == (None, None, None, None), "a method among methods"
    assert roles(scale, "sizes").guided is None, "judged by another target than all"
    assert selection.over_sizes(scale) == ["sizes"]


def test_a_study_may_say_who_plays_a_part(scale: Scale) -> None:
    said = {"guided": "small", "random": "learned"}
    study = scale.studies["branches"].model_copy(update={"roles": said})
    told = scale.model_copy(update={"studies": {"branches": study}})
    assert roles(told, "branches") == ("small", "learned", "small", "whole")


def test_the_scales_of_the_suite_name_variants_by_their_roles() -> None:
    for path in SCALES.glob("*.yaml"):
        found = load_scale(path.stem)
        for name, study in found.studies.items():
            for role, variant in roles(found, name)._asdict().items():
                assert variant == (role if role in study.variants else None), (path.stem, name)


def test_ablations_differ_from_guided_in_one_setting(scale: Scale) -> None:
    assert selection.ablations(scale, "branches") == {
        "weak-prior": ("gates.length_scale2", 50),
        "warm": ("gates.temperature", pytest.approx(2 / 3)),
    }
    assert selection.ablations(scale, "cells") == {}, "fixed gates are a method, not an ablation"
    sweep = selection.sweep(scale, "branches", "gates.length_scale2")
    assert sweep == {"learned": 500, "weak-prior": 50}
    assert selection.sweep(scale, "branches", "gates.initial") == {"learned": 0.1}


def test_ablations_alone_or_nothing_guided_make_no_main_study(scale: Scale) -> None:
    assert selection.main(scale) == ["branches", "cells"]
    branches = scale.studies["branches"].model_copy(update={"stands_for": None})
    unnamed = scale.model_copy(update={"studies": {**scale.studies, "branches": branches}})
    assert selection.main(unnamed) == ["cells"]


@pytest.mark.parametrize(
    ("name", "studies"),
    [
        ("table1", ["branches"]),
        ("table2", []),
        ("table3", ["branches"]),
        ("table9", []),
        ("ablations", ["branches"]),
        ("extraction", ["branches"]),
        ("efficiency", ["cells"]),
        ("nasbench", ["cells", "rivals"]),
        ("rivals", []),
    ],
)
def test_studies_of_a_table(name: str, studies: list[str], scale: Scale) -> None:
    assert list(TABLES[name].studies(scale)) == studies


@pytest.mark.parametrize(
    ("name", "studies"),
    [
        ("table3", ["m", "mi", "e", "ei"]),
        ("table2", ["mi-cifar100"]),
        ("table8", ["d121"]),
        ("table9", ["r50"]),
    ],
)
def test_supernets_have_their_tables(name: str, studies: list[str]) -> None:
    assert list(TABLES[name].studies(load_scale("paper"))) == studies


def test_a_table_reads_its_studies_and_no_settings_of_jobs(scale: Scale) -> None:
    before = {name: TABLES[name].reads(scale) for name in ("table3", "rivals")}
    study = scale.studies["branches"]

    def changed(**update: object) -> list[str]:
        now = scale.model_copy(update=update)
        return [name for name, read in before.items() if TABLES[name].reads(now) != read]

    def with_study(**update: object) -> dict[str, object]:
        return {**scale.studies, "branches": study.model_copy(update=update)}

    assert changed(threads=2) == []
    assert changed(studies=with_study(extract=[])) == []
    assert changed(studies=with_study(seeds=[1])) == ["table3"]
    assert changed(description="Others") == ["table3", "rivals"]


def test_targets_of_snakemake() -> None:
    rules = [FIGURES[name].rule for name in ("figure1", "best-of-n")]
    assert [TABLES["table3"].rule, TABLES["rivals"].rule] == ["table3", "table_rivals"]
    assert rules == ["figure1", "figure_best_of_n"]
