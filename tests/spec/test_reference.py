"""The reference of config/README.md against the models that it is made from."""

from __future__ import annotations

from pathlib import Path

from pdnas.spec.reference import renewed, sections

PAGE = Path(__file__).parents[2] / "config/README.md"


def test_the_reference_is_what_the_models_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert renewed(text) == text, "run: python -m pdnas.spec.reference config/README.md"


def test_every_kind_of_value_is_told() -> None:
    text = "\n".join(sections())
    for row in (
        "| `initial` | number > 0, < 1 | `0.1` |",
        "| `match` | text or `null` | `null` |",
        "| `noise` | `image`, `batch` or integer ≥ 2 | `image` |",
        "| `kernels` | list of: `1`, `3`, `5`, `9` | `[1, 3, 5, 9]` |",
        "| `length_scale2` | number ≥ 0 | – |",
    ):
        assert row in text
    assert text.count("## Keys of `schedule: {name: steps}`") == 1
