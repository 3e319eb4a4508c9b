"""Architecture drawings: every gate has its box, in its place, with its share."""

from __future__ import annotations

from pathlib import Path

import matplotlib.text
import pytest
import torch

from pdnas.nn.supernets import ChannelSupernet, build
from pdnas.report.collect import collect
from pdnas.report.paper import architecture as drawing
from pdnas.report.style import Drawing, style
from pdnas.runs.distributions import save_candidates, save_posterior
from pdnas.runs.run import Run
from pdnas.space.cells import CELL, CellSpace
from pdnas.space.macro import MacroSpace
from pdnas.space.posterior import CategoricalPosterior, ChannelPosterior
from pdnas.spec.scale import load_scale
from pdnas.spec.supernets import NAMED, MultiBranchConfig
from pdnas.support import files
from pdnas.support.errors import PdnasError

from ..conftest import Tree


def supernet(name: str) -> ChannelSupernet:
    with torch.device("meta"):
        network = build(NAMED[name], 3, 10)
    assert isinstance(network, ChannelSupernet)
    return network


def posterior(network: ChannelSupernet) -> ChannelPosterior:
    """Another drop probability for every gate, of its last group alone."""
    drop, sizes = {}, {}
    gates = network.gates()
    for number, (name, gate) in enumerate(gates.items()):
        drop[name] = torch.zeros(len(gate.group_sizes), dtype=torch.float64)
        drop[name][-1] = number / len(gates)
        sizes[name] = torch.tensor(gate.group_sizes)
    return ChannelPosterior(drop, sizes)


def test_a_block_alone_in_its_stage_has_no_number() -> None:
    for blocks, numbers in ((1, set()), (2, {"0", "1"})):
        net = build(MultiBranchConfig(name="multibranch", width=4, blocks=blocks), 3, 10)
        found = drawing.operations(net, net.posterior(), None)
        shown = texts(drawing.architecture("two lines", found))
        assert {text for text in shown if text.isdigit()} == numbers


def texts(made: Drawing) -> list[str]:
    return [found.get_text() for found in made.figure.findobj(matplotlib.text.Text)]


@pytest.mark.parametrize(
    ("name", "rows", "blocks"),
    [
        ("supernet-m", 3, 12),
        ("supernet-r50", 4, 16),
        ("supernet-d121", 4, 58 + 3),
        ("supernet-e", 9 + 1, 17 + 1),
        ("natsbench-size", 5, 5),
    ],
)
def test_every_gate_is_a_box(name: str, rows: int, blocks: int) -> None:
    network = supernet(name)
    learned = posterior(network)
    found = drawing.operations(network, learned, None)
    gates = network.gates()
    shares = [operation.share for operation in found]
    expected = [
        1 - number / len(gates) * gate.group_sizes[-1] / gate.channels
        for number, gate in enumerate(gates.values())
    ]
    assert shares == pytest.approx(expected)
    with style():
        made = drawing.architecture(name, found)
    assert made.data["row"].nunique() == rows
    assert len(made.data[["row", "block"]].drop_duplicates()) == blocks
    # Nobody may wait for the drawing to know which numbers it shows.
    drawn = [text for text in texts(made) if "\n" in text and not text.startswith(name)]
    assert sorted(drawn) == sorted(f"{o.label}\n{100 * o.share:.0f}" for o in found)
    figure = made.figure
    figure.draw_without_rendering()
    edges = [artist.get_window_extent() for artist in figure.axes[0].texts]
    assert min(edge.x0 for edge in edges) >= 0
    assert max(edge.x1 for edge in edges) <= figure.bbox.x1


def test_places_and_labels() -> None:
    def of(name: str) -> dict[str, tuple[str, str, str, str]]:
        network = supernet(name)
        found = drawing.operations(network, posterior(network), None)
        return {
            gate: (operation.row, operation.block, operation.branch, operation.label)
            for gate, operation in zip(network.gated_layers(), found, strict=True)
        }

    m, r50, e = of("supernet-m"), of("supernet-r50"), of("supernet-e")
    assert m["stages.1.0.branch2.4"] == ("stage 1", "0", "branch2", "3x3")
    parallel = {place[2] for gate, place in m.items() if gate.startswith("stages.1.0.skip")}
    assert len(parallel) == 2, "the halves of a factorised reduction stand side by side"
    assert r50["stages.2.3.conv2.kernel9"] == ("stage 2", "3", "conv2.kernel9", "9x9")
    assert e["cells.3.nodes.2.y.sep3x3_1.pointwise"] == ("cells from 2", "3", "nodes.2.y", "s3x3")
    assert e["classifier"] == ("classifier", "", "", "linear")


def test_a_candidate_shows_its_masks() -> None:
    network = supernet("supernet-r50")
    learned = posterior(network)
    choice = learned.sample(1, seed=0)[0]
    gone = "stages.0.1.conv2.kernel5"
    choice[gone] = torch.zeros_like(choice[gone])
    found = dict(zip(choice, drawing.operations(network, learned, choice), strict=True))
    assert found[gone].share == 0
    gate = "stages.3.2.conv2.kernel1"
    assert found[gate].share == pytest.approx(float(choice[gate].double().mean()))


def test_a_cell_shows_probabilities_or_what_was_chosen() -> None:
    space = CellSpace()
    learned = CategoricalPosterior(
        torch.softmax(torch.arange(30.0).reshape(6, 5) / 10, dim=1), space
    )
    network = build(NAMED["nasbench201"].model_copy(update={"channels": 4}), 3, 10)
    found = drawing.operations(network, learned, None)
    assert [operation.share for operation in found] == pytest.approx(
        learned.probabilities.flatten().tolist()
    )
    choice = {CELL: torch.tensor([3, 1, 0, 4, 2, 3], dtype=torch.int8)}
    chosen = [o.branch for o in drawing.operations(network, learned, choice) if o.share == 1]
    assert chosen == [space.operations[code] for code in choice[CELL].tolist()]


def test_layers_show_probabilities_or_what_was_chosen() -> None:
    learned = CategoricalPosterior(
        torch.softmax(torch.arange(24.0).reshape(8, 3) / 10, dim=1), MacroSpace()
    )
    network = build(NAMED["nasbench-macro"].model_copy(update={"channels": 2}), 3, 10)
    found = drawing.operations(network, learned, None)
    assert [operation.share for operation in found] == pytest.approx(
        learned.probabilities.flatten().tolist()
    )
    assert [(each.row, each.block) for each in found[6:7]] == [("stage 1", "layer 2")]
    choice = {"blocks": torch.tensor([0, 2, 0, 1, 2, 1, 0, 0], dtype=torch.int8)}
    chosen = [o.branch for o in drawing.operations(network, learned, choice) if o.share == 1]
    assert "".join(chosen) == "02012100"
    with style():
        drawing.architecture("some", found).figure.draw_without_rendering()
    with pytest.raises(PdnasError, match="switch cell is no network; use this supernet's"):
        drawing.operations(network, learned, {CELL: torch.zeros(6, dtype=torch.int8)})
    cells = CategoricalPosterior.uniform(CellSpace())
    with pytest.raises(PdnasError, match="switch layer0 is not in what is to be drawn"):
        drawing.operations(network, cells, None)


def test_another_supernet_is_refused() -> None:
    learned = posterior(supernet("supernet-r50"))
    with pytest.raises(PdnasError, match=r"stages\.0\.0\.branch1\.1"):
        drawing.operations(supernet("supernet-m"), learned, None)
    with pytest.raises(PdnasError, match="input channels"):
        drawing.operations(supernet("supernet-m"), posterior(supernet("supernet-mi")), None)


@pytest.mark.parametrize(("width", "blocks"), [(8, 1), (4, 2)])
def test_a_drawing_fills_its_figure(width: int, blocks: int) -> None:
    network = build(MultiBranchConfig(name="multibranch", width=width, blocks=blocks), 3, 10)
    assert isinstance(network, ChannelSupernet)
    with style():
        made = drawing.architecture("some", drawing.operations(network, posterior(network), None))
    made.figure.draw_without_rendering()
    boxes = [
        text.get_window_extent() for text in made.figure.axes[0].texts if text.get_bbox_patch()
    ]
    left, right = min(box.x0 for box in boxes), max(box.x1 for box in boxes)
    assert right - left > 0.7 * made.figure.bbox.width


def test_figure2_draws_a_run(tree: Tree, tmp_path: Path) -> None:
    assert drawing.figure2(collect(tree.scale_name, tree.folder)) is None
    spec = load_scale(tree.scale_name).spec("branches", "guided")
    network = build(spec.supernet, 3, 10)
    assert isinstance(network, ChannelSupernet)
    run = tree.folder / "branches/guided/seed0"
    save_posterior(run / "posterior.safetensors", posterior(network), {})
    choice = posterior(network).sample(60, seed=0)
    save_candidates(run / "candidates-posterior.safetensors", choice, {})
    ranking = run / "ranking-posterior.json"
    drawn = {"candidates_sha256": Run.load(run).candidates_sha256("posterior")}
    files.write_json(ranking, files.read_json(ranking) | drawn)
    found = Run.load(run).chosen("posterior")
    assert found is not None
    made = drawing.figure2(collect(tree.scale_name, tree.folder))
    assert made is not None
    kept = [float(mask.double().mean()) for mask in choice[int(found["candidate"])].values()]
    assert list(made.data["share"]) == pytest.approx(kept)
    paths = drawing.draw_run(Run.load(run), None, None, tmp_path / "drawn.png")
    assert [path.name for path in paths] == ["drawn.pdf", "drawn.png", "drawn.csv"]
    with pytest.raises(PdnasError, match="no candidate 99"):
        drawing.draw_run(Run.load(run), "posterior", 99, tmp_path / "drawn")
