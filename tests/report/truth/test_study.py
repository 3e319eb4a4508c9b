"""The study of NAS-Bench-201: its tables and figures, from records of exact arithmetic."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pdnas.report import catalogue, style
from pdnas.report.claims import claims
from pdnas.report.collect import Collection, collect
from pdnas.report.formats import NOT_RUN, Column, text
from pdnas.report.notes import CHOSEN_BY_TRUTH
from pdnas.report.truth import choice
from pdnas.report.truth.choice import one_shot
from pdnas.report.truth.methods import expected_cost, methods
from pdnas.report.truth.posterior import posterior_mass
from pdnas.runs.distributions import save_posterior
from pdnas.space.cells import CellSpace
from pdnas.space.posterior import CategoricalPosterior
from pdnas.spec import products
from pdnas.spec.alone import AloneSearch
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json, write_table
from pdnas.support.statistics import Interval, confidence_interval
from pdnas.truth import rivals
from pdnas.truth.measure import exact_efficiency
from pdnas.truth.sampling import expected_accuracy_of_chosen, mass_at_least
from pdnas.truth.seconds import query_seconds
from pdnas.truth.tables.nasbench201 import NasBench201

from ..conftest import Tree, plant, provenance

FIGURES = (
    "samples-to-target",
    "best-so-far",
    "one-shot",
    "posterior-training",
    "posterior-mass",
    "cost",
)


def one_shot_scores(truth: NasBench201, seed: int) -> np.ndarray:
    """Scores that know half of the truth."""
    noise = np.random.default_rng(seed).normal(0, 0.02, len(CellSpace()))
    return truth.accuracy() / 2 + noise


Studied = list[tuple[str, str, int, CategoricalPosterior, dict[str, Any]]]


@pytest.fixture(scope="session")
def studied(truth: NasBench201, cell_posteriors: list[CategoricalPosterior]) -> Studied:
    """Study, variant, seed, distribution, and its exact sample efficiency with all cells scored."""
    uniform = CategoricalPosterior.uniform(CellSpace())
    runs = [
        *(("cells", "guided", seed, cell_posteriors[seed]) for seed in range(3)),
        *(("rivals", "spos", seed, uniform) for seed in range(2)),
        *(("rivals", "gdas", seed, cell_posteriors[0]) for seed in range(2)),
    ]
    return [
        (
            *(study, variant, seed, posterior),
            exact_efficiency(
                posterior.architecture_probabilities(), truth, scores=one_shot_scores(truth, seed)
            ),
        )
        for study, variant, seed, posterior in runs
    ]


@pytest.fixture(scope="module")
def scored(
    tmp_path_factory: pytest.TempPathFactory, grown: Path, truth: NasBench201, studied: Studied
) -> Path:
    """The runs after ``snakemake nasbench``: everything scored, one search of the table."""
    tree = plant(tmp_path_factory.mktemp("scored"))
    shutil.copytree(grown, tree.folder)
    for study, variant, seed, posterior, record in studied:
        path = tree.folder / study / variant / f"seed{seed}"
        if not path.exists():
            tree.search(study, variant, seed, seconds=100 + seed)
        scores = one_shot_scores(truth, seed)
        table = pd.DataFrame({"cell_id": np.arange(len(scores)), "score": scores, "loss": -scores})
        write_table(path / "scores.parquet", table)
        save_posterior(path / "posterior.safetensors", posterior, {})
        write_json(path / "efficiency-scored.json", {**record, "provenance": provenance(1.0)})
    asked = rivals.search("random", truth.accuracy(), range(30), 120, CellSpace())
    trace = rivals.trace(asked, range(30), truth.accuracy(), truth.accuracy())
    write_table(tree.folder / "rivals" / "random.parquet", trace)
    record = {"dataset": "cifar10", **rivals.summarise_searches(trace, (0.93,))}
    write_json(tree.folder / "rivals" / "random.json", record)
    return tree.folder


@pytest.fixture
def collection(tree: Tree, scored: Path) -> Collection:
    """A copy of these runs, to spoil."""
    shutil.copytree(scored, tree.folder, dirs_exist_ok=True)
    return collect(tree.scale_name, tree.folder)


def test_table_of_methods(
    collection: Collection, truth: NasBench201, cell_posteriors: list[CategoricalPosterior]
) -> None:
    made = catalogue.table("nasbench", collection)
    keys = [column.key for column in made.columns]
    rows = {row[0]: dict(zip(keys, row, strict=True)) for row in made.rows}
    assert list(rows)[:3] == ["posterior-guided", "SPOS (uniform)", "GDAS"]

    guided = rows["posterior-guided"]
    needed = [
        1 / mass_at_least(q.architecture_probabilities(), truth.accuracy(), 0.935)
        for q in cell_posteriors
    ]
    samples = guided["ours_samples_to_935"]
    assert isinstance(samples, Interval)
    assert samples.estimate == pytest.approx(np.exp(np.log(needed).mean()))
    assert samples.count == guided["ours_seeds"] == 3
    chosen = [
        expected_accuracy_of_chosen(
            q.architecture_probabilities(), one_shot_scores(truth, seed), truth.accuracy(), 100
        )[0]
        for seed, q in enumerate(cell_posteriors)
    ]
    assert isinstance(guided["ours_chosen_cifar10_pct"], Interval)
    assert guided["ours_chosen_cifar10_pct"].estimate == pytest.approx(100 * np.mean(chosen))
    assert guided["ours_chosen_by"] == "score"
    assert guided["published_cifar10_pct"] is None

    spos = rows["SPOS (uniform)"]
    uniform = np.full(len(CellSpace()), 1 / len(CellSpace()))
    assert spos["ours_samples_to_935"] == pytest.approx(
        1 / mass_at_least(uniform, truth.accuracy(), 0.935)
    )
    assert spos["ours_mode_accuracy_pct"] is None, "a uniform distribution has no mode"
    assert spos["published_cifar10_pct"] is None, "RSPS chooses in another way"
    assert rows["RSPS"]["published_cifar10_pct"] == "87.66 ± 1.69"
    assert rows["GDAS"]["published_cifar10_pct"] == "93.61 ± 0.09"
    assert rows["DrNAS"]["published_cifar10_pct"] == "94.36"
    assert rows["DrNAS"]["published_cifar100_pct"] == "73.51"
    assert rows["DrNAS"]["ours_chosen_cifar10_pct"] == NOT_RUN


def test_a_posterior_of_cells_alone_is_a_claim_of_its_own(
    collection: Collection, studied: Studied
) -> None:
    settings = {"alone": AloneSearch(rounds=(3, 2))}
    runs = tuple(
        replace(run, spec=run.spec.model_copy(update=settings)) if run.study == "rivals" else run
        for run in collection.runs
    )
    changed = replace(collection, runs=runs)
    found = [each for each in claims(changed) if "cells trained alone" in each.question]
    assert {each.study for each in found} == {"rivals"}
    targets = studied[-1][-1]["datasets"]["cifar10"]["targets"]
    speedups = [each["speedup"] for each in targets]
    ones = [1.0] * len(targets)  # of the uniform variant
    assert [each.interval.estimate for each in found] == pytest.approx([*ones, *speedups])
    notes = catalogue.table("nasbench", changed).notes
    [note] = [note for note in notes if "5 cells trained alone" in note]
    assert note.endswith("each on 1000 images of cifar10 4 times, in 2 rounds.")
    assert CHOSEN_BY_TRUTH not in notes, "nobody knows that of a scale of the user's"
    assert CHOSEN_BY_TRUTH in catalogue.table("nasbench", replace(changed, name="laptop")).notes
    assert not [each for each in claims(collection) if "cells trained" in each.question]


def test_table_of_rivals(collection: Collection) -> None:
    made = catalogue.table("rivals", collection)
    keys = [column.key for column in made.columns]
    rows = {row[0]: dict(zip(keys, row, strict=True)) for row in made.rows}
    trace = collection.rivals["random"].trace()
    last = 100 * trace[trace["query"] == 120]["best_accuracy"]
    assert isinstance(rows["random"]["ours_chosen_last_pct"], Interval)
    assert rows["random"]["ours_chosen_last_pct"].estimate == pytest.approx(last.mean())
    assert rows["random"]["ours_searches"] == 30
    assert rows["evolution"]["ours_chosen_100_pct"] == NOT_RUN


def test_a_rivals_hours_and_noise(collection: Collection, truth: NasBench201) -> None:
    """Records of before have neither the noise nor a library: dashes, and the name alone."""
    folder = collection.folder / "rivals"
    record = read_json(folder / "random.json")
    record["chosen_accuracy"]["retrained"] = {"low": 0.92, "high": 0.94}
    target = {"expected_queries": 9.0, "low": 6.0, "high": 13.5}
    record["targets"][0]["retrained"] = target
    shutil.copy(folder / "random.parquet", folder / "tpe.parquet")
    write_json(folder / "tpe.json", {**record, "library": "optuna 5.0.0"})
    made = catalogue.table("rivals", collect(collection.asked, collection.folder))
    keys = [column.key for column in made.columns]
    rows = {row[0]: dict(zip(keys, row, strict=True)) for row in made.rows}
    old, new = rows["random"], rows["tpe, optuna 5.0.0"]
    assert old["ours_chosen_retrained_pct"] is old["ours_queries_to_930_retrained"] is None
    assert new["ours_queries_to_930_retrained"] == Interval(9.0, 6.0, 13.5, 30)
    assert new["ours_queries_to_940_retrained"] is None
    chosen = new["ours_chosen_retrained_pct"]
    assert isinstance(chosen, Interval)
    assert (chosen.low, chosen.high) == pytest.approx((92, 94))
    queries, hours = old["ours_queries_to_930"], old["ours_gpu_hours_to_930"]
    assert isinstance(queries, Interval)
    assert isinstance(hours, Interval)
    # On the whole, a query of random search stands for the mean of all cells' seconds.
    mean = query_seconds(truth, "cifar10").mean() / 3600
    assert hours.estimate == pytest.approx(queries.estimate * mean, rel=0.1)


def test_searches_for_another_data_set_are_refused(collection: Collection) -> None:
    path = collection.folder / "rivals" / "random.json"
    write_json(path, read_json(path) | {"dataset": "cifar100"})
    with pytest.raises(PdnasError, match=r"random\.json is about cifar100, the"):
        catalogue.table("rivals", collection)


def test_methods_without_scores_choose_the_mode(
    collection: Collection, truth: NasBench201, cell_posteriors: list[CategoricalPosterior]
) -> None:
    for seed in collection.efficiencies("nasbench")["cells", "guided"]:
        (seed.run.folder / "efficiency-scored.json").unlink()
    made = catalogue.table("nasbench", collection)
    keys = [column.key for column in made.columns]
    guided = dict(zip(keys, made.rows[0], strict=True))
    assert guided["ours_chosen_by"] == "mode"
    modes = [
        truth.accuracy("cifar100")[q.architecture_probabilities().argmax()] for q in cell_posteriors
    ]
    assert guided["ours_chosen_cifar100_pct"].estimate == pytest.approx(100 * np.mean(modes))


def test_two_methods_of_one_name_are_refused(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key, seeds), *_ = collection.efficiencies("nasbench").items()
    twice = {key: seeds, ("another", key[1]): seeds}
    monkeypatch.setattr(Collection, "efficiencies", lambda *_: twice)
    with pytest.raises(PdnasError, match=r"another both have a variant"):
        methods(collection)


def test_the_main_table_leaves_the_study_alone(collection: Collection) -> None:
    assert {row[0] for row in catalogue.table("efficiency", collection).rows} == {"cells"}


def test_expected_queries_are_the_reciprocal_of_the_chance() -> None:
    first = np.random.default_rng(0).geometric(0.02, 10_000).astype(float)
    interval = expected_cost(np.minimum(first, 30), first <= 30)
    assert interval.estimate == pytest.approx(50, rel=0.03)
    assert interval.low < 50 < interval.high
    assert interval.high - interval.low < 3


def test_a_target_that_no_search_reaches() -> None:
    interval = expected_cost(np.full(5, 30.0), np.zeros(5, dtype=bool))
    assert interval.estimate == np.inf
    assert np.isnan(interval.low)


@pytest.mark.parametrize("name", FIGURES)
def test_figure(name: str, collection: Collection, tmp_path: Path) -> None:
    catalogue.draw(name, collection, tmp_path)
    with Image.open(tmp_path / f"{name}.png") as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert len(pd.read_csv(tmp_path / f"{name}.csv")) >= 3
    # From its own studies alone it is the same.
    scale = str(collection.folder.parent / f"{collection.name}.yaml")
    own = catalogue.figure(name, collect(scale, collection.folder, products.FIGURES[name].studies))
    assert own is not None
    style.save_data(own.data, tmp_path, "own")
    assert (tmp_path / "own.csv").read_bytes() == (tmp_path / f"{name}.csv").read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_was_run(name: str, empty_tree: Tree, tmp_path: Path) -> None:
    catalogue.draw(name, collect(empty_tree.scale_name, empty_tree.folder), tmp_path)
    assert pd.read_csv(tmp_path / f"{name}.csv")["status"].tolist() == ["not run"]


def test_mass_adds_up(collection: Collection, tmp_path: Path) -> None:
    catalogue.draw("posterior-mass", collection, tmp_path)
    data = pd.read_csv(tmp_path / "posterior-mass.csv")
    assert set(data["variant"]) == {"guided", "gdas"}
    everything = data[data["best_cells"] == len(CellSpace())]
    assert everything["mass_pct"].to_numpy() == pytest.approx(100)
    assert (
        data.groupby("variant")["mass_pct"].apply(lambda mass: mass.is_monotonic_increasing).all()
    )


def test_figures_of_three_operations(collection: Collection, truth: NasBench201) -> None:
    """Both go by the benchmark's ids, and hold the run against the cells that it can choose."""
    space = CellSpace(("nor_conv_3x3", "none", "skip_connect"))
    for seed in methods(collection)[0].seeds:
        table = pd.DataFrame({"cell_id": space.benchmark_ids(), "score": np.arange(729) / 729})
        write_table(seed.run.folder / "scores.parquet", table)
        save_posterior(
            seed.run.folder / "posterior.safetensors", CategoricalPosterior.uniform(space), {}
        )
    drawn, mass = one_shot(collection), posterior_mass(collection)
    assert drawn is not None
    assert mass is not None
    cells = drawn.data[drawn.data["variant"] == "guided"]
    assert len(cells) == 729
    np.testing.assert_allclose(cells["true_pct"], 100 * truth.accuracy()[cells["cell_id"]])
    guided = mass.data[mass.data["variant"] == "guided"]
    np.testing.assert_allclose(guided["mass_pct"], 100 * guided["best_cells"] / 729)


def test_one_shot_figure_says_the_tau_of_all_seeds(
    collection: Collection, truth: NasBench201
) -> None:
    taus = []
    for seed in range(3):
        pairs = pd.DataFrame({"truth": truth.accuracy(), "score": one_shot_scores(truth, seed)})
        best = pairs[pairs["truth"] >= pairs["truth"].quantile(0.9)]
        taus.append([each.corr("kendall").iloc[0, 1] for each in (pairs, best)])
    shown = [
        f"{label} {text(confidence_interval(values), Column('', ''))}"
        for label, values in zip(("τ", "τ of the top tenth"), np.transpose(taus), strict=True)
    ]
    with style.style():
        drawing = one_shot(collection)
    assert drawing is not None
    panel = drawing.figure.axes[0]
    assert panel.get_title("left") == "\n".join(["posterior-guided", *shown])
    assert not panel.texts, "nothing lies on the cells"
    assert len({axis.get_xlim() for axis in drawing.figure.axes}) == 1


def test_every_method_has_a_row_of_cost(collection: Collection) -> None:
    with style.style():
        drawing = choice.cost(collection)
    assert drawing is not None
    names = [method.label for method in methods(collection)]
    [legend] = drawing.figure.legends
    assert [each.get_text() for each in legend.texts] == ["bar: 95 % interval over seeds"]
    shown = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
    assert shown == names[::-1]
    for axis, column in zip(drawing.figure.axes, ("seconds", "accuracy_pct"), strict=True):
        marks = [line for line in axis.lines if line.get_marker() in ("o", "s")]
        found = {shown[line.get_ydata()[0]]: line.get_xdata()[0] for line in marks}
        assert [found[name] for name in names] == pytest.approx(list(drawing.data[column]))
        assert all(each >= 0 for line in axis.lines for each in line.get_xdata())
    assert drawing.figure.axes[0].get_xlim()[0] == 0


def test_two_methods_of_one_label_are_refused(collection: Collection) -> None:
    """Figures would draw them as one."""
    studies = {
        name: study.model_copy(update={"labels": dict.fromkeys(study.variants, "same")})
        for name, study in collection.scale.studies.items()
    }
    alike = replace(collection, scale=collection.scale.model_copy(update={"studies": studies}))
    with pytest.raises(PdnasError, match="two methods are labelled 'same'; give one another label"):
        methods(alike)


def test_methods_have_colours_of_their_own(collection: Collection) -> None:
    with style.style():
        drawing = posterior_mass(collection)
    assert drawing is not None
    colours = [line.get_color() for line in drawing.figure.axes[0].lines]
    assert len(set(colours)) == len(colours) == 3
