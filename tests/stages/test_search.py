"""What a search trains with, how its seeds differ, and what candidates are then drawn from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from pdnas.data.sets import INFO
from pdnas.data.splits import load_part, make_splits
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import ChannelSupernet, Supernet
from pdnas.runs.distributions import save_posterior
from pdnas.runs.run import Run
from pdnas.space.cells import CELL
from pdnas.space.posterior import CategoricalPosterior, ChannelPosterior
from pdnas.spec.names import Source
from pdnas.spec.scale import load_scale
from pdnas.spec.spec import Spec
from pdnas.stages import search as module
from pdnas.stages.materials import make_supernet, trained_supernet
from pdnas.stages.sample import distribution, sample_run
from pdnas.support.errors import PdnasError
from pdnas.support.files import write_json
from pdnas.train.fit import TrainingData
from pdnas.train.state import TrainingState

CPU = torch.device("cpu")


def make_spec(study: str = "multibranch", variant: str = "guided", **parts: dict[str, Any]) -> Spec:
    """A search of the smoke scale on few images for an epoch, with parts of it changed."""
    spec = load_scale("smoke").spec(study, variant).model_dump()
    spec["data"] |= {"train": 100, "validation": 50, "test": 50}
    spec["training"] |= {"epochs": 1}
    spec["gates"] |= {"warmup_epochs": 0}
    for name, settings in parts.items():
        spec[name] |= settings
    return Spec.model_validate(spec)


def search(
    out: Path,
    spec: Spec,
    seed: int = 0,
    match: Path | None = None,
    warm_ups: Path | None = None,
) -> Run:
    names = {"scale": "smoke", "study": "multibranch", "variant": out.name}
    drop = module.match_drop(spec, match, {**names, "seed": seed})
    module.search_run(spec, **names, seed=seed, out=out, device=CPU, drop=drop, warm_ups=warm_ups)
    return Run.load(out)


@dataclass(frozen=True)
class Training:
    """What the training loop was given."""

    weights: dict[str, Tensor]
    data: TrainingData

    @property
    def labels(self) -> list[int]:
        """Of the first epoch, in its order."""
        return torch.cat([y for _, y in self.data.loader.epoch(0)]).tolist()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """What each training that follows is given; the training itself takes place."""
    found: list[Training] = []
    real = module.fit

    def fit(supernet: Supernet, data: TrainingData, *settings: Any) -> TrainingState:
        weights = {name: value.clone() for name, value in supernet.state_dict().items()}
        found.append(Training(weights, data))
        return real(supernet, data, *settings)

    monkeypatch.setattr(module, "fit", fit)
    return found


def test_seeds_are_replicates_on_the_same_images(tmp_path: Path, trainings: list[Training]) -> None:
    runs = [search(tmp_path / f"{seed}", make_spec(), seed) for seed in (0, 1)]
    search(tmp_path / "again", make_spec(), 0)
    first, second, again = trainings
    assert not torch.equal(first.weights["stem.weight"], second.weights["stem.weight"])
    assert first.labels != second.labels
    assert sorted(first.labels) == sorted(second.labels)
    tables = [pd.read_parquet(run.folder / "splits.parquet") for run in runs]
    pd.testing.assert_frame_equal(*tables)
    pd.testing.assert_frame_equal(tables[0], make_splits(make_spec().data))
    assert torch.equal(first.weights["stem.weight"], again.weights["stem.weight"])
    assert first.labels == again.labels


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ({"length_scale2": 7}, Objective(7, 100)),
        ({"length_scale2": 7, "examples": 5000}, Objective(7, 5000)),
        ({"length_scale2": 7, "form": "official"}, Objective(7, 100, form="official")),
        ({"length_scale2": 7, "prior": "constant"}, Objective(7, 100, prior="constant")),
    ],
)
def test_the_objective_is_the_specification_s(
    gates: dict[str, Any], expected: Objective, tmp_path: Path, trainings: list[Training]
) -> None:
    search(tmp_path, make_spec(gates=gates))
    (training,) = trainings
    assert training.data.objective == expected
    assert training.data.heldout is None


def test_switches_learn_from_images_of_their_own(tmp_path: Path, trainings: list[Training]) -> None:
    spec = make_spec(data={"heldout": 50}, gates={"length_scale2": 7})
    search(tmp_path, spec)
    train, heldout = trainings[0].data, trainings[0].data.heldout
    assert heldout is not None
    splits = make_splits(spec.data)
    for images, part in ((heldout, "heldout"), (train, "train")):
        labels = torch.cat([y for _, y in images.loader.epoch(0)])
        assert sorted(labels.tolist()) == sorted(load_part(spec.data, part, splits).labels.tolist())
    assert (train.objective.examples, heldout.objective.examples) == (100, 50)


def cells(**parts: dict[str, Any]) -> Spec:
    """A search over cells whose warm-up is two epochs of three."""
    parts["gates"] = {"warmup_epochs": 2} | parts.get("gates", {})
    return make_spec("nasbench201", **{"training": {"epochs": 3}, **parts})


def same_results(one: Run, other: Run) -> bool:
    """Whether two searches found the same, to the bit.

    The constant entropy of the warm-up, and the loss with it, are rounded in other ways by a chain
    and by independent edges.
    """
    runs = (one, other)
    weights = [trained_supernet(run, CPU).state_dict() for run in runs]
    losses, nlls = (
        [pd.read_parquet(run.folder / "history.parquet")[column] for run in runs]
        for column in ("loss", "nll")
    )
    paths = [pd.read_parquet(run.folder / "trajectory.parquet") for run in runs]
    return (
        all(map(torch.equal, *(each.values() for each in weights)))
        and nlls[0].equals(nlls[1])
        and np.allclose(*losses, rtol=1e-6)
        and paths[0].equals(paths[1])
    )


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "code_version", lambda: "1 0123456789ab")


@pytest.fixture(scope="module")
def warmed_up(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search that has left its warm-up in the folder `shared` beside it."""
    folder = tmp_path_factory.mktemp("searches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "code_version", lambda: "1 0123456789ab")
        return search(folder / "first", cells(), warm_ups=folder / "shared")


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize(
    "gates",
    [
        {"estimator": "score"},
        pytest.param({"estimator": "relaxed"}, marks=pytest.mark.thorough),
        pytest.param({"estimator": "softmax"}, marks=pytest.mark.thorough),
        {"dependence": "chain"},
        pytest.param({"dependence": "chain", "estimator": "score"}, marks=pytest.mark.thorough),
        pytest.param({"temperature": 0.2}, marks=pytest.mark.thorough),
        {"temperature": 10, "temperature_end": 0.1},
        {"mode": "fixed"},
    ],
    ids=str,
)
def test_a_warm_up_that_another_search_has_made_changes_nothing(
    gates: dict[str, Any], warmed_up: Run, tmp_path: Path
) -> None:
    spec = cells(gates=gates)
    alone = search(tmp_path / "alone", spec, warm_ups=tmp_path / "own")
    after = search(tmp_path / "after", spec, warm_ups=warmed_up.folder.parent / "shared")
    assert same_results(alone, after)
    assert not same_results(warmed_up, after)
    # And the other way round: what it leaves serves the first.
    takes = search(tmp_path / "takes", cells(), warm_ups=tmp_path / "own")
    assert same_results(warmed_up, takes)
    made = [run.record["warm_up_of"] for run in (warmed_up, alone, after, takes)]
    assert made[:2] == [None, None]
    assert made[2:] == [f"search multibranch/{name} seed 0" for name in ("first", "alone")]
    epochs = pd.read_parquet(takes.folder / "history.parquet")["seconds"]
    assert takes.record["provenance"]["wall_seconds"] > epochs.sum()  # whoever spent them


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize(
    "other",
    [
        {"data": {"validation": 60}},
        {"supernet": {"channels": 8}},
        {"training": {"epochs": 3, "learning_rate": 0.05}},
        {"training": {"epochs": 4}},
        {"gates": {"length_scale2": 1}},
        {"gates": {"warmup_epochs": 1}},
        {"gates": {"learning_rate": None}},
    ],
    ids=str,
)
def test_another_warm_up_is_not_taken(
    other: dict[str, Any], warmed_up: Run, tmp_path: Path
) -> None:
    shared = warmed_up.folder.parent / "shared"
    run = search(tmp_path, cells(**other), warm_ups=shared)
    assert run.record["warm_up_of"] is None


def test_neither_another_seed_s_nor_other_code_s_warm_up_is_taken(
    warmed_up: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = warmed_up.folder.parent / "shared"
    shared = tmp_path / "shared"
    shutil.copytree(left, shared)
    before = len(list(shared.iterdir()))
    for number, (code, seed, leaves) in enumerate(
        [
            ("1 0123456789ab", 1, 1),
            ("1 ba9876543210", 0, 1),
            ("1 0123456789ab+changes", 0, 0),  # what code that is not committed does, nobody knows
            ("1 (no git checkout)", 0, 0),
        ]
    ):
        monkeypatch.setattr(module, "code_version", lambda code=code: code)
        run = search(tmp_path / f"{number}", cells(), seed, warm_ups=shared)
        assert run.record["warm_up_of"] is None
        before += leaves
        assert len(list(shared.iterdir())) == before


@pytest.mark.usefixtures("committed")
def test_searches_for_other_sizes_share_a_warm_up(tmp_path: Path) -> None:
    def spec(target: int, temperature: float = 0.2) -> Spec:
        gates = {"warmup_epochs": 1, "temperature": temperature, "size_target": target}
        return make_spec("natsbench-size", "band-200k", gates=gates, training={"epochs": 2})

    shared = tmp_path / "shared"
    runs = [
        search(tmp_path / "first", spec(200_000), warm_ups=shared),
        search(tmp_path / "alone", spec(100_000)),
        search(tmp_path / "after", spec(100_000), warm_ups=shared),
        search(tmp_path / "other", spec(100_000, temperature=0.5), warm_ups=shared),
    ]
    assert same_results(*runs[1:3])
    assert not same_results(*runs[:2])
    made = [run.record["warm_up_of"] for run in runs]
    assert made == [None, None, "search multibranch/first seed 0", None]


@pytest.mark.usefixtures("committed")
def test_channel_gates_share_no_warm_up(tmp_path: Path) -> None:
    """Their masks depend on temperature and drop probability from the first step on."""
    spec = make_spec(training={"epochs": 2}, gates={"warmup_epochs": 1})
    search(tmp_path / "first", spec, warm_ups=tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_a_matched_rate_is_that_of_the_classes_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of images have any number of them, and a gated classifier as many rows."""
    enas = {"name": "enas", "filters": 4, "layers": 3}
    fixed = make_spec(gates={"mode": "fixed", "match": "guided"}).model_dump()
    spec = Spec.model_validate({**fixed, "supernet": enas})
    like = make_supernet(spec, CPU).posterior()
    assert isinstance(like, ChannelPosterior)
    gates = list(like.drop)
    drop = {name: torch.full_like(like.drop[name], 0.9) for name in gates[:-1]}
    drop[gates[-1]] = torch.full_like(like.drop[gates[-1]], 0.1)
    learned = ChannelPosterior(drop, like.group_sizes)
    save_posterior(tmp_path / "posterior.safetensors", learned, {})
    names = {"scale": "smoke", "study": "wide", "seed": 0}
    record = {**names, "variant": "guided", "spec": spec.model_dump(mode="json")}
    write_json(tmp_path / "run.json", record)
    rates = []
    for classes in (10, 400):
        many = replace(INFO["digits"], count=lambda _, classes=classes: classes)
        monkeypatch.setitem(INFO, "digits", many)
        supernet = make_supernet(spec, CPU, classes)
        assert isinstance(supernet, ChannelSupernet)
        rates.append(supernet.matching_drop_probability(learned))
        assert module.match_drop(spec, tmp_path, names) == rates[-1]
    assert rates[0] - rates[1] > 0.05, "or the number of classes would not matter"


def test_a_run_to_match_belongs_to_a_specification_that_matches_one(tmp_path: Path) -> None:
    guided = search(tmp_path / "guided", make_spec())
    with pytest.raises(PdnasError, match="leave out --match"):
        search(tmp_path / "plain", make_spec(), match=guided.folder)
    with pytest.raises(PdnasError, match="'guided'; give that variant's run with --match"):
        search(tmp_path / "random", make_spec(gates={"mode": "fixed", "match": "guided"}))
    fixed = make_spec(gates={"mode": "fixed", "match": "guided"})
    with pytest.raises(PdnasError, match="is of seed 0, not 1; give the run of that seed"):
        search(tmp_path / "random", fixed, seed=1, match=guided.folder)
    others = make_spec(gates={"mode": "fixed", "match": "wide"})
    with pytest.raises(PdnasError, match="is of variant guided, not wide"):
        search(tmp_path / "random", others, match=guided.folder)


def test_the_random_baseline_is_as_large_as_the_guided_candidates(
    tmp_path: Path, trainings: list[Training]
) -> None:
    """It trains and samples with the rate that its record names, on every gate."""
    guided = search(tmp_path / "guided", make_spec(gates={"initial": 0.3, "learning_rate": 0.5}))
    fixed = {"mode": "fixed", "match": "guided", "initial": 0.1}
    random = search(tmp_path / "random", make_spec(gates=fixed), match=guided.folder)
    rate = random.record["fixed_drop_probability"]
    supernet = make_supernet(random.spec, CPU)
    learned = guided.posterior()
    assert isinstance(supernet, ChannelSupernet)
    assert isinstance(learned, ChannelPosterior)
    assert rate == supernet.matching_drop_probability(learned)
    assert abs(rate - 0.1) > 0.05, "a rate that tells itself from the one to begin with"
    logits = [value for name, value in trainings[1].weights.items() if name.endswith("logit_p")]
    torch.testing.assert_close(torch.cat(logits).sigmoid(), torch.full((len(logits),), rate))
    fixed_posterior = random.posterior()
    assert isinstance(fixed_posterior, ChannelPosterior)
    for drop in fixed_posterior.drop.values():
        assert drop.tolist() == pytest.approx([rate] * len(drop))
    assert (
        distribution(fixed_posterior, "random", random.spec)
        .marginals()
        .equals(fixed_posterior.marginals())
    )


@pytest.fixture
def spoiled(tmp_path: Path) -> Run:
    """A run whose posterior drops whole gates, and keeps others whole, all but surely."""
    run = search(tmp_path, make_spec())
    own = run.posterior()
    assert isinstance(own, ChannelPosterior)
    drop = {
        name: torch.full_like(values, 0.999 if number % 3 else 0.001)
        for number, (name, values) in enumerate(own.drop.items())
    }
    sure = ChannelPosterior(drop, own.group_sizes)
    save_posterior(run.folder / "posterior.safetensors", sure, {}, run.identity)
    return run


@pytest.mark.parametrize("source", ["posterior", "random", "uniform"])
def test_candidates_follow_the_distribution_that_they_name(source: Source, spoiled: Run) -> None:
    learned = spoiled.posterior()
    assert isinstance(learned, ChannelPosterior)
    supernet = make_supernet(spoiled.spec, CPU)
    assert isinstance(supernet, ChannelSupernet)
    rate = {"random": supernet.matching_drop_probability(learned), "uniform": 0.5}.get(source)
    count = 400
    candidates = sample_run(spoiled, source, count, seed=0)
    stored, metadata = spoiled.candidates(source)
    expected = np.zeros(count)
    for name, masks in candidates.choices.items():
        assert torch.equal(stored.choices[name], masks)
        p = learned.drop[name].item() if rate is None else rate
        channels = masks.shape[1]
        dropped = (~masks).double().mean().item()
        assert dropped == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / (count * channels)))
        kept = masks.double().sum(dim=1).numpy()
        expected += kept * np.log1p(-p) + (channels - kept) * np.log(p)
    assert metadata["log_probability"] == pytest.approx(expected.tolist())
    assert (metadata["source"], metadata["seed"]) == (source, 0)


def test_cells_follow_the_posterior_or_nothing(tmp_path: Path) -> None:
    run = search(tmp_path, make_spec("nasbench201"))
    own = run.posterior()
    assert isinstance(own, CategoricalPosterior)
    sure = torch.full_like(own.probabilities, 0.01)
    sure[:, 3] = 1 - 0.01 * (sure.shape[1] - 1)
    surer = CategoricalPosterior(sure, own.space)
    save_posterior(run.folder / "posterior.safetensors", surer, {}, run.identity)
    shares = {}
    sources: tuple[Source, ...] = ("posterior", "uniform")
    for source in sources:
        cells = sample_run(run, source, 400, seed=0).choices[CELL]
        shares[source] = (cells == 3).double().mean().item()
        stored, metadata = run.candidates(source)
        assert torch.equal(stored.choices[CELL], cells)
        p = torch.log(sure if source == "posterior" else torch.full_like(sure, 0.2))
        expected = p[torch.arange(6), cells.long()].sum(dim=1)
        assert metadata["log_probability"] == pytest.approx(expected.tolist())
    assert shares == pytest.approx({"posterior": 0.96, "uniform": 0.2}, abs=0.05)
    with pytest.raises(PdnasError, match="no drop rate to fix"):
        distribution(own, "random", run.spec)
