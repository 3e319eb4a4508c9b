"""Scale files: what they may say, and one line for what they may not."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pdnas.spec.scale import SCALES, load_scale
from pdnas.spec.supernets import NAMED
from pdnas.support.errors import PdnasError

SCALE: dict[str, Any] = {
    "description": "a test",
    "studies": {
        "s": {
            "seeds": [0],
            "base": {
                "data": {"name": "digits", "validation": 100, "augmentation": {"cutout": 0}},
                "supernet": {"name": "multibranch", "width": 4},
                "training": {"epochs": 4, "batch": 32, "learning_rate": 0.1},
                "gates": {"length_scale2": 50, "learning_rate": 0.02},
                "candidates": {"count": 10},
            },
            "variants": {
                "guided": {},
                "random": {"gates": {"mode": "fixed", "match": "guided"}},
            },
        }
    },
}


Writer = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def writer(**changes: Any) -> str:
        """A scale file with values set at places such as ``base.gates.mode``."""
        scale = copy.deepcopy(SCALE)
        for place, value in changes.items():
            *folders, last = place.split(".")
            target = scale["studies"]["s"]
            for folder in folders:
                target = scale if folder == "top" else target[folder]
            target[last] = value
        path = tmp_path / "scale.yaml"
        path.write_text(yaml.safe_dump(scale))
        return str(path)

    return writer


def problem(path: str) -> str:
    with pytest.raises(PdnasError) as raised:
        load_scale(path)
    assert "\n" not in str(raised.value)
    assert path in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("path", sorted(SCALES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_scale_of_the_repository_loads(path: Path) -> None:
    scale = load_scale(path.stem)
    assert scale.studies
    for study, content in scale.studies.items():
        assert content.variants
        for variant in content.variants:
            assert scale.spec(study, variant).gates.length_scale2 >= 0


def test_there_are_scales() -> None:
    assert list(SCALES.glob("*.yaml"))


def test_a_study_that_judges_nothing_needs_no_validation_images(write: Writer) -> None:
    data = {"name": "digits", "validation": 0, "augmentation": {"cutout": 0}}
    scale = load_scale(write(**{"base.data": data, "target": "nasbench"}))
    assert scale.spec("s", "guided").data.validation == 0


def test_cells_are_not_extracted(write: Writer) -> None:
    changes = {"base.supernet": {"name": "nasbench201"}, "extract": ["guided"]}
    assert "s/guided: cells are not fine-tuned or extracted" in problem(write(**changes))


def test_variants_override_parts_of_the_base(write: Writer) -> None:
    scale = load_scale(write())
    guided, random = scale.spec("s", "guided"), scale.spec("s", "random")
    assert guided.gates.mode == "learned"
    assert random.gates.mode == "fixed"
    assert random.gates.length_scale2 == guided.gates.length_scale2 == 50
    assert random.training == guided.training


def test_variants_that_differ_after_the_search_share_it(write: Writer) -> None:
    scale = load_scale(
        write(
            **{
                "variants.more": {"candidates": {"count": 99}},
                "variants.tuned": {"retrain": {"epochs": 1, "learning_rate": 0.1}},
                "variants.other": {"gates": {"initial": 0.5}},
                "variants.other-more": {"gates": {"initial": 0.5}, "candidates": {"count": 99}},
            }
        )
    )
    owners = {name: scale.searched_by("s", name) for name in scale.studies["s"].variants}
    assert owners == {
        "guided": "guided",
        "random": "random",
        "more": "guided",
        "tuned": "guided",
        "other": "other",
        "other-more": "other",
    }


@pytest.mark.parametrize(("written", "value"), [("1/5", 0.2), ("2/3", 2 / 3), (1, 1.0), (0.2, 0.2)])
def test_temperatures_may_be_fractions(write: Writer, written: Any, value: Any) -> None:
    scale = load_scale(write(**{"base.gates.temperature": written}))
    assert scale.spec("s", "guided").gates.temperature == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("base.gates.temprature", 0.2, r"gates\.temprature: .*did you mean 'temperature'"),
        ("base.gates.temperature", 0, r"gates\.temperature: .*greater than 0.*got 0"),
        ("base.gates.temperature", "-1/5", r"gates\.temperature: .*greater than 0"),
        ("base.gates.temperature", "a/b", r"gates\.temperature: .*got 'a/b'"),
        ("base.gates.initial", 1.0, r"gates\.initial: .*less than 1"),
        ("base.gates.initial", 0.0, r"gates\.initial: .*greater than 0"),
        ("base.gates.mode", "learnt", r"gates\.mode: .*'learned'.*got 'learnt'"),
        ("base.gates.form", "code", r"gates\.form"),
        ("base.gates.length_scale2", -1, r"gates\.length_scale2"),
        ("base.gates.warmup_epochs", 4, r"warmup_epochs must be smaller"),
        ("base.training.epochs", 0, r"training\.epochs"),
        ("base.training.batch", "many", r"training\.batch: .*integer.*got 'many'"),
        ("base.training.momentum", 1.0, r"training\.momentum"),
        ("base.training.schedule", "cosin", r"training\.schedule: .*cosin"),
        ("base.training.schedule", "steps", r"training\.schedule\.steps\.milestones: .*required"),
        (
            "base.training.schedule",
            {"name": "steps", "milestones": [60, 30]},
            r"training\.schedule\.steps: milestones must ascend",
        ),
        (
            "base.training.schedule",
            {"name": "cosine", "minimum": 0.1},
            r"training\.schedule\.cosine\.minimum: no such key; choose one of name",
        ),
        ("base.supernet.width", 1, r"supernet\.multibranch\.width: .*greater than or equal to 2"),
        (
            "base",
            {
                **SCALE["studies"]["s"]["base"],
                "data": {"name": "cifar10", "validation": 10},
                "supernet": {"name": "densenet", "layers": [1] * 5},
            },
            r"images of cifar10 \(32x32\) are too small for 5 dense blocks",
        ),
        ("base.training.drop_path", 1, r"training\.drop_path: .*less than 1"),
        ("base.training.drop_path", 0.4, r"training\.drop_path needs supernet enas"),
        ("base.training.auxiliary_weight", 0.4, r"training\.auxiliary_weight needs supernet enas"),
        (
            "base",
            {
                **SCALE["studies"]["s"]["base"],
                "supernet": {"name": "enas", "filters": 4},
                "training": {"epochs": 2, "batch": 8, "learning_rate": 1, "auxiliary_weight": 0.4},
            },
            r"images of digits \(8x8\) are too small for an auxiliary head",
        ),
        (
            "base",
            {
                **SCALE["studies"]["s"]["base"],
                "supernet": {"name": "nasbench201"},
                "gates": {"length_scale2": 0, "estimator": "score", "noise": "batch"},
            },
            r"score compares the cells of a batch, which has one",
        ),
        (
            "base",
            {
                **SCALE["studies"]["s"]["base"],
                "supernet": {"name": "nasbench201"},
                "training": {"epochs": 5, "batch": 2, "micro_batch": 1, "learning_rate": 1},
                "gates": {"length_scale2": 0, "estimator": "score"},
            },
            r"score needs two images at once or more",
        ),
        (
            "base",
            {
                **SCALE["studies"]["s"]["base"],
                "supernet": {"name": "nasbench201"},
                "gates": {"length_scale2": 0, "noise": 2},
            },
            r"cells that images share leave no running BatchNorm statistics",
        ),
        (
            "base.gates",
            {"length_scale2": 0, "estimator": "softmax", "temperature": 0.5},
            r"softmax weighs operations by their probabilities; it needs temperature: 1",
        ),
        (
            "base",
            {
                **SCALE["studies"]["s"]["base"],
                "supernet": {"name": "nasbench201"},
                "gates": {"length_scale2": 0, "size_prior": 0.1},
            },
            r"gates\.size_prior needs channel gates; leave it out with supernet nasbench201",
        ),
        (
            "base.gates",
            {"length_scale2": 0, "size_target": 200_000},
            r"gates\.size_target needs gates mode: learned and a gates\.learning_rate",
        ),
        (
            "base.candidates.band",
            [100_000, 200_000],
            r"candidates\.band needs supernet natsbench-size, width a multiple of 8",
        ),
        ("base.candidates.band", [2, 1], r"fewest and the most parameters, in this order"),
        ("base.candidates.band", [1], r"candidates\.band: .*at least 2"),
        ("base.gates.size_prior", -0.1, r"gates\.size_prior: .*greater than or equal to 0"),
        ("base.supernet", {"name": "natsbench-size", "width": 24}, r"width must divide 64"),
        ("base.supernet", {"name": "natsbench-size", "width": 128}, r"width: .*equal to 64"),
        ("base.gates.noise", 3, r"training\.batch must be a multiple of gates\.noise"),
        ("base.data.name", "mnist", r"data: .*mnist"),
        ("base.supernet.name", "vgg", r"supernet: .*vgg"),
        ("base.supernet.widht", 3, r"supernet\.multibranch\.widht"),
        ("base.candidates.count", 0, r"candidates\.count"),
        ("base.extra", {}, r"extra: no such key; choose one of data, supernet"),
        ("variants.guided.trainning", {}, r"s/guided: trainning: .*did you mean 'training'"),
        ("base.supernet", {"nam": "enas"}, r"supernet: needs a name; did you mean it by 'nam'"),
        ("base.supernet", {}, r"supernet: needs a name$"),
        ("base.candidates", {"coumt": 1}, r"candidates\.coumt: .*did you mean 'count'"),
        ("base.training.epochs", 10**30, r"training\.epochs: .*less than or equal to"),
        ("base.supernet.width", 10**9, r"supernet\.multibranch\.width: .*less than or equal to"),
        ("base.supernet.blocks", 10**9, r"supernet\.multibranch\.blocks: .*less than or equal to"),
        ("base.data.split_seed", -1, r"data\.digits\.split_seed: .*greater than or equal to 0"),
        ("seeds", [2**63], r"studies\.s\.seeds\.0: .*less than"),
        (
            "variants.random.gates",
            {"mode": "fixed", "match": "guide"},
            r"s/random: gates\.match: no variant 'guide'",
        ),
        ("variants.random.gates", {"match": "guided"}, r"s/random: .*match needs mode: fixed"),
        ("seeds", [], r"studies\.s\.seeds"),
        ("seeds", [0, 1, 0], r"studies\.s: seeds of guided repeat: \[0, 1, 0\]"),
        ("seed", [0], r"studies\.s\.seed: .*did you mean 'seeds'"),
        ("more_seeds", {"guide": [4]}, r"studies\.s: more_seeds: no variant 'guide'"),
        ("extract", ["guide"], r"studies\.s: extract: no variant 'guide'"),
        ("finetune", ["guided"], r"s/guided: finetune needs retrain, which says how"),
        ("more_seeds", {"random": [0]}, r"studies\.s: seeds of random repeat"),
        (
            "base.data.augmentation.cutout",
            15,
            r"cutout: a square of 15 hides all of an image of 8x8",
        ),
        ("base.training.learning_rate", True, r"training\.learning_rate: on, off, yes, no, true"),
        ("base.training.epochs", True, r"training\.epochs: on, off, yes, no, true"),
        ("seeds", [True, False], r"studies\.s\.seeds: on, off, yes, no, true"),
        ("labels", {"guided": "random"}, r"labels: two variants are called 'random'"),
        ("roles", {"guided": "random"}, r"roles: guided is to have gates mode: learned, not fixed"),
        ("base.data.validation", 0, r"s/guided: data\.validation: 0 leaves no images to judge"),
        ("score_images", 101, r"s/guided: score_images: 101 is more than data\.validation"),
    ],
)
def test_a_wrong_entry_is_named(write: Writer, place: str, value: Any, named: str) -> None:
    assert re.search(named, problem(write(**{place: value})))


ALONE: dict[str, Any] = {
    "target": "nasbench",
    "base.data.train": 200,
    "base.data.augmentation": {"crop": 0, "flip": False, "cutout": 0},
    "base.supernet": {"name": "nasbench201", "channels": 4},
    "base.training.schedule": "constant",
    "base.gates": {"length_scale2": 0},
    "base.alone": {"rounds": [3, 2]},
    "variants": {"guided": {}},
}
"""What makes of the file above a study of cells that are trained alone."""


def test_cells_may_be_trained_alone(write: Writer) -> None:
    config = load_scale(write(**ALONE)).spec("s", "guided").alone_config
    assert config is not None
    assert (config.steps, config.batch, config.learning_rate) == (25, 32, 0.1)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("base.alone.rounds", [], r"alone\.rounds"),
        ("base.alone.share", 0, r"alone\.share: .*greater than 0"),
        ("base.alone.side", 3, r"alone: side: 3 does not divide the 8 pixels"),
        ("base.alone.kernels", "dirac", r"alone\.kernels"),
        ("base.supernet.kernels", "random", r"alone: supernet\.kernels: leave it out"),
        ("base.supernet", {"name": "multibranch", "width": 4}, r"alone needs supernet nasbench201"),
        ("base.supernet.operations", ["none", "nor_conv_3x3"], r"alone: supernet\.operations"),
        ("base.data.train", None, r"alone: data\.train says how many images"),
        ("base.data.train", 20, r"alone: batch: 32 is more than the 20 training images"),
        ("base.data.heldout", 10, r"alone: data\.heldout is not used"),
        (
            "base.data.augmentation",
            {"cutout": 0},
            r"data\.augmentation\.crop is not used; leave it",
        ),
        ("base.training.schedule", "cosine", r"training\.schedule is to be constant"),
        ("base.training.compile", True, r"alone: training\.compile is not used; leave it at False"),
        ("base.training.weight_decay", 0.1, r"training\.weight_decay is not used"),
        ("base.gates.length_scale2", 1, r"alone: gates\.length_scale2 is not used"),
        ("base.gates.warmup_epochs", 1, r"alone: gates\.warmup_epochs is not used"),
        ("base.gates.mode", "fixed", r"alone: gates\.mode is not used; leave it at learned"),
        ("target", "all", r"alone: no supernet is left to judge with"),
        ("score_images", 10, r"alone: no supernet is left to judge with"),
        ("variants.other", {"alone": None}, r"s/other: alone: a study's variants all train cells"),
    ],
)
def test_a_wrong_entry_of_cells_alone_is_named(
    write: Writer, place: str, value: Any, named: str
) -> None:
    assert re.search(named, problem(write(**copy.deepcopy(ALONE) | {place: value})))


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("top.thread", 2, "thread: .*did you mean 'threads'"),
        ("top.threads", 0, "threads: .*got 0"),
        ("top.device", "tpu", "device: .*got 'tpu'"),
        ("top.gpus", 2, "gpus: more than 1 needs device: cuda"),
        ("top.studies", [], "studies"),
    ],
)
def test_a_wrong_entry_at_the_top_is_named(
    write: Writer, place: str, value: Any, named: str
) -> None:
    assert re.search(named, problem(write(**{place: value})))


@pytest.mark.parametrize(("old", "new"), [("base:", "bse:"), ("variants:", "varients:")])
def test_a_misspelt_required_key_is_named(write: Writer, old: str, new: str) -> None:
    path = Path(write())
    path.write_text(path.read_text().replace(old, new))
    named = f"studies.s.{new} no such key; did you mean {old[:-1]!r}"
    assert named in problem(str(path))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("description: a\nstudies: {}\n\ndescription: b\n", "line 4 has the key 'description'"),
        ("description: a\nstudies: {s: {seeds: [0], seeds: [1]}}\n", "line 2 has the key 'seeds'"),
        ("description: a\nstudies:\n  s: {}\n  't': {}\n  \"s\": {}", "line 5 has the key 's'"),
        ("description: a\nstudies:\n- {a: 1,\n   a: 2}\n", "line 4 has the key 'a'"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_line(
    tmp_path: Path, text: str, named: str
) -> None:
    path = tmp_path / "scale.yaml"
    path.write_text(text)
    assert named in problem(str(path))


@pytest.mark.parametrize(
    ("written", "read"),
    [("012", 10), ("-012", -10), ("1:30", 90), ("1:30.5", 90.5), ("0_7", 7), ("00", 0)],
)
def test_a_number_to_another_base_is_refused(tmp_path: Path, written: str, read: float) -> None:
    path = tmp_path / "scale.yaml"
    path.write_text((SCALES / "smoke.yaml").read_text().replace("crop: 1,", f"crop: {written},", 1))
    assert f"line 12 has {written}, which YAML reads as {read}; write" in problem(str(path))
    path.write_text(path.read_text().replace(f"crop: {written},", "crop: 0,"))
    assert load_scale(str(path)).spec("multibranch", "guided").data.augmentation.crop == 0


def test_a_supernet_that_the_paper_lacks_is_in_no_table(tmp_path: Path) -> None:
    path = tmp_path / "scale.yaml"
    path.write_text((SCALES / "smoke.yaml").read_text().replace("stands_for: M", "stands_for: m"))
    assert "stands_for: Input should be 'M', 'MI', " in problem(str(path))


def test_a_merged_mapping_may_be_overridden(tmp_path: Path) -> None:
    """The key that stands in the mapping itself holds, as YAML has it; nothing stands twice."""
    text = (SCALES / "smoke.yaml").read_text()
    fixed = "random: {gates: &fixed {mode: fixed, match: guided, length_scale2: 2}}"
    other = "other: {gates: {<<: *fixed, length_scale2: 3}}"
    text = text.replace("random: {gates: {mode: fixed, match: guided}}", f"{fixed}\n      {other}")
    path = tmp_path / "scale.yaml"
    path.write_text(text)
    gates = load_scale(str(path)).spec("multibranch", "other").gates
    assert (gates.match, gates.length_scale2) == ("guided", 3)


def test_a_band_without_networks_is_named(write: Writer) -> None:
    places = {"base.supernet": {"name": "natsbench-size", "width": 16}}
    path = write(**places, **{"base.candidates.band": [1, 2]})
    assert "candidates.band: no network of the size space has 1 to 2 parameters" in problem(path)
    path = write(**places, **{"base.candidates.band": [180_000, 220_000]})
    assert load_scale(path).spec("s", "guided").candidates.band == [180_000, 220_000]


@pytest.mark.parametrize("missing", ["data", "supernet", "training", "gates", "candidates"])
def test_a_missing_part_is_named(write: Writer, missing: str) -> None:
    base = {key: value for key, value in SCALE["studies"]["s"]["base"].items() if key != missing}
    assert re.search(f"s/guided: {missing}: Field required", problem(write(base=base)))


@pytest.mark.parametrize("operations", [["none"], ["none", "none"], ["none", "conv_7x7"]], ids=str)
def test_wrong_operations_are_named(write: Writer, operations: list[str]) -> None:
    supernet = {"name": "nasbench201", "operations": operations}
    assert "operations must be two or more" in problem(write(**{"base.supernet": supernet}))


def test_a_cell_supernet_has_no_plain_network(write: Writer) -> None:
    path = write(
        **{"base.supernet": {"name": "nasbench201"}, "variants.random.gates": {"mode": "none"}}
    )
    assert "s/random: supernet nasbench201 has no plain network" in problem(path)


def test_kernels_fade_in_a_warm_up(write: Writer) -> None:
    supernet = {"name": "nasbench201", "channels": 4, "cells": 1, "kernels": "fading"}
    assert "fading needs gates.warmup_epochs" in problem(write(**{"base.supernet": supernet}))
    gates = {"length_scale2": 0, "warmup_epochs": 1}
    load_scale(write(**{"base.supernet": supernet, "base.gates": gates}))


def test_a_frozen_warmup_is_no_problem_for_a_fixed_distribution(write: Writer) -> None:
    scale = load_scale(write(**{"variants.random.gates": {"mode": "fixed", "warmup_epochs": 9}}))
    assert scale.spec("s", "random").gates.warmup_epochs == 9


@pytest.mark.parametrize("text", ["a: [1,\nb: 2", "\tx: 1", "- just\n- a list", "", "studies: 3"])
def test_what_is_no_scale_at_all(tmp_path: Path, text: str) -> None:
    path = tmp_path / "scale.yaml"
    path.write_text(text)
    problem(str(path))


def test_an_unknown_scale_names_the_known_ones() -> None:
    with pytest.raises(PdnasError, match=r"no scale 'desktop'.*laptop"):
        load_scale("desktop")


def test_a_missing_file_is_no_scale(tmp_path: Path) -> None:
    assert "no scale" in problem(str(tmp_path / "none.yaml"))


def test_unknown_studies_and_variants_name_the_known_ones(write: Writer) -> None:
    scale = load_scale(write())
    with pytest.raises(PdnasError, match=r"no study 't'.*choose s"):
        scale.spec("t", "guided")
    with pytest.raises(PdnasError, match=r"no variant 'x' in study 's'.*guided, random"):
        scale.spec("s", "x")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("temperature: 1,", "temperature: 1/0,", "temperature"),
        ("temperature: 1,", "temperature: .inf,", "temperature"),
        ("match: guided", "match: random", "learns no drop probabilities"),
        ("match: guided", "match: full", "learns no drop probabilities"),
    ],
)
def test_values_that_no_search_could_use(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = (SCALES / "smoke.yaml").read_text()
    assert old in text
    path = tmp_path / "scale.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(PdnasError, match=named):
        load_scale(str(path))


def test_a_scale_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "scale.yaml"
    path.write_bytes(b"\xff\xfe\x00 not text")
    with pytest.raises(PdnasError, match="not YAML"):
        load_scale(str(path))


@pytest.mark.parametrize(
    "gates", [{"length_scale2": 50}, {"length_scale2": 50, "mode": "fixed", "learning_rate": 0.1}]
)
def test_held_out_images_need_switches_that_move_on_their_own(
    write: Writer, gates: dict[str, Any]
) -> None:
    path = write(**{"base.data.heldout": 50, "base.gates": gates})
    assert "data.heldout needs gates mode: learned and a gates.learning_rate" in problem(path)


def test_held_out_images_and_a_compiled_network_are_refused(write: Writer) -> None:
    base = SCALE["studies"]["s"]["base"]
    path = write(
        **{
            "base.data.heldout": 50,
            "base.gates": {"length_scale2": 50, "learning_rate": 0.1},
            "base.training": {**base["training"], "compile": True},
        }
    )
    assert "a compiled network does not follow; use training.compile: false" in problem(path)


def test_the_paper_s_scale_has_all_six_supernets_at_full_size() -> None:
    scale = load_scale("paper")
    size = {
        "m": "supernet-m",
        "mi": "supernet-mi",
        "mi-cifar100": "supernet-mi",
        "e": "supernet-e",
        "ei": "supernet-ei",
        "r50": "supernet-r50",
        "d121": "supernet-d121",
    }
    assert scale.studies.keys() == size.keys()
    for study, supernet in size.items():
        assert scale.spec(study, "guided").supernet == NAMED[supernet]


def test_the_paper_s_warm_restarts_end_with_its_last_epoch() -> None:
    """ENAS: T0 = 10 and Tmul = 2 fill its 630 epochs."""
    for study in ("e", "ei"):
        training = load_scale("paper").spec(study, "guided").training
        epochs, period = 0, training.schedule.period
        while epochs < training.epochs:
            epochs, period = epochs + period, period * training.schedule.growth
        assert epochs == training.epochs


def test_who_makes_a_warm_up_that_searches_have_in_common() -> None:
    scale = load_scale("laptop")
    others = "nasbench201-others"
    made = {
        variant: scale.warmed_up_by(others, variant, 3)[1]
        for variant in scale.studies[others].variants
    }
    shared = {"score-function", "relaxed", "chain", "temperature-1-5"}
    assert made == {variant: "guided" if variant in shared else variant for variant in made}
    assert scale.warmed_up_by("nasbench201-uniform", "spos", 1) == ("nasbench201", "guided")
    assert scale.warmed_up_by("nasbench201", "guided", 3) == ("nasbench201", "guided")
    assert scale.warmed_up_by("multibranch", "random", 1) == ("multibranch", "random")
    for band in ("band-100k", "band-300k"):
        assert scale.warmed_up_by("natsbench-size", band, 2) == ("natsbench-size", "band-100k")
    # A seed that no study has is asked for by hand.
    assert scale.warmed_up_by(others, "chain", 99) == (others, "chain")
