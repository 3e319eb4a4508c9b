"""What a claim's numbers say of the paper, alone and among others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pdnas.report import catalogue
from pdnas.report.claims import Claim, Side, claims, corrected, table
from pdnas.report.collect import collect
from pdnas.spec.scale import load_scale
from pdnas.support.statistics import Interval

from .conftest import GUIDED_TEST, Tree


def claim(
    estimate: float, half: float, p: float, claimed: Side | None = "below", **more: float | None
) -> Claim:
    interval = Interval(estimate, estimate - half, estimate + half, 5)
    neutral = 0 if more.get("least") is None else 1
    readings = "more", "less"
    return Claim("s", "a - b", interval, "{} points", neutral, p, readings, "less", claimed, **more)


@pytest.mark.parametrize(
    ("found", "reading", "verdict"),
    [
        (claim(-2, 1, 0.01), "less", "supported"),
        (claim(2, 1, 0.01), "more", "not supported"),
        (claim(-2, 1, 0.06), "not settled", "open"),
        (claim(-2, 1, float("nan")), "not settled", "open"),
        (claim(-2, 1, 0.01, claimed=None), "less", "–"),
        (claim(-2, 1, 0.01, claimed="neither"), "less", "not supported"),
        (claim(-2, 3, 0.3, claimed="neither"), "not settled", "open"),
        (claim(20, 9, 0.01, claimed="above", least=10), "more", "supported"),
        (claim(20, 11, 0.01, claimed="above", least=10), "more", "in part"),
        (claim(0.5, 0.1, 0.01, claimed="above", least=10), "less", "not supported"),
    ],
)
def test_verdict(found: Claim, reading: str, verdict: str) -> None:
    assert (found.reading, found.verdict) == (reading, verdict)


def test_seeds_that_are_equal_settle_nothing(tree: Tree) -> None:
    """As of few test images: two seeds of smoke's digits had gained four images each."""
    for seed, accuracy in enumerate(GUIDED_TEST):
        path = tree.folder / "branches" / "guided" / f"seed{seed}"
        tree.result(path, "posterior", "finetune", accuracy + 0.02)
    found = {each.question: each for each in claims(collect(tree.scale_name, tree.folder))}
    gain = found["by how much does fine-tuning lower the test error of guided candidates?"]
    assert (gain.measured, gain.seeds) == ("2.00 points", 3)
    assert (gain.reading, gain.verdict) == ("not settled", "open")


def test_claims_that_are_read_together_are_corrected_together() -> None:
    alone = [claim(-2, 1, p) for p in (0.03, 0.01, float("nan"))]
    assert [each.verdict for each in alone] == ["supported", "supported", "open"]
    together = corrected(alone)
    assert [each.p for each in together[:2]] == pytest.approx([0.03, 0.02])
    assert "for the 2 tests of the table" in table(together).notes[1]
    assert [each.verdict for each in corrected([*alone, claim(0, 1, 0.9)])] == [
        "open",
        "supported",
        "open",
        "open",
    ]


@pytest.mark.parametrize(
    ("old", "new", "question", "note"),
    [
        (
            "{mode: fixed, match: guided}",
            "{mode: fixed, initial: 0.5}",
            "test error of guided minus random candidates, without fine-tuning",
            "Study branches: the random baseline has a drop rate of its own, so its candidates may "
            "be of another size than the guided ones.",
        ),
        (
            "full: {",
            "full: {training: {epochs: 99}, ",
            "test error of guided candidates minus the whole network's",
            "Study branches: the full model is not trained for as many epochs.",
        ),
    ],
)
def test_what_is_not_alike_is_not_called_so(
    tree: Tree, old: str, new: str, question: str, note: str
) -> None:
    collection = collect(tree.scale_name, tree.folder)
    assert note not in catalogue.table("table3", collection).notes
    assert question not in [each.question for each in claims(collection)]
    path = Path(tree.scale_name)
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    changed = replace(collection, scale=load_scale(tree.scale_name))
    assert note in catalogue.table("table3", changed).notes
    assert question in [each.question for each in claims(changed)]
