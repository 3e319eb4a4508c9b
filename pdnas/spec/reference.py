"""The tables of config/README.md, made from the models: every key, its values, default and meaning.

``python -m pdnas.spec.reference config/README.md`` writes them anew between the two marks there.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pdnas.spec.alone import AloneConfig, AloneStudy
from pdnas.spec.base import Strict
from pdnas.spec.limits import MOST
from pdnas.spec.scale import Scale
from pdnas.spec.spec import Spec

MARKS = "<!-- python -m pdnas.spec.reference writes from here -->", "<!-- to here -->"
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}

_PLACES: Mapping[str, type[Strict]] = {
    "a scale": Scale,
    "a specification": Spec,
    "a study of cells trained alone": AloneStudy,
    "a cell trained alone": AloneConfig,
}
"""What is described, and its model."""

Schema = dict[str, Any]
"""A JSON schema, or a part of one."""


def renewed(text: str) -> str:
    """A text with the tables between its two marks written anew."""
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    return "\n\n".join([before + MARKS[0], *sections(), MARKS[1] + after])


def sections() -> list[str]:
    """A heading, a line and a table for each model, in Markdown."""
    found: list[str] = []
    for place, model in _PLACES.items():
        schema = model.model_json_schema()
        found += _sections(place, schema, schema["$defs"])
    return list(dict.fromkeys(found))  # schedules are those of two keys


def _sections(place: str, model: Schema, models: Schema) -> Iterator[str]:
    """A model's section, then those of the models that its keys hold."""
    fields = {key: field for key, field in model["properties"].items() if "const" not in field}
    rows = [
        f"| `{key}` | {_values(field)} | {_default(field)} | {_line(field['description'])} |"
        for key, field in fields.items()
    ]
    header = (
        ["", "| key | value | default | meaning |", "| --- | --- | --- | --- |"] if rows else []
    )
    yield "\n".join([f"## Keys of {place}", "", _line(model["description"]), *header, *rows])
    for key, field in fields.items():
        for name in dict.fromkeys(re.findall(r"#/\$defs/(\w+)", json.dumps(field))):
            kind = models[name]["properties"].get("name", {}).get("const")
            inner = f"`{key}: {{name: {kind}}}`" if kind else f"`{key}`"
            yield from _sections(inner, models[name], models)


def _values(field: Schema) -> str:
    """What a key may say."""
    if "discriminator" in field:
        return f"`name`: {_choices(field['discriminator']['mapping'])}, with its keys"
    if "anyOf" in field:
        return " or ".join(_values(choice) for choice in field["anyOf"])
    if "enum" in field:
        return _choices(field["enum"])
    kind: str = field.get("type", "object")
    if kind == "array":
        return f"list of: {_values(field['items'])}"
    words = {"object": "mapping", "string": "text", "null": "`null`", "boolean": "`true`, `false`"}
    limits = {bound: field[bound] for bound in BOUNDS if field.get(bound, MOST) < MOST}
    bounds = [f"{BOUNDS[bound]} {limit}" for bound, limit in limits.items()]
    return " ".join([words.get(kind, kind), ", ".join(bounds)]).strip()


def _choices(values: Iterable[Any]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _default(field: Schema) -> str:
    """A key's default, nearly as YAML writes it."""
    return f"`{json.dumps(field['default'])}`".replace('"', "") if "default" in field else "–"


def _line(text: str) -> str:
    """A docstring in one line, with links that work from config/README.md."""
    line = " ".join(text.replace("``", "`").split())
    return re.sub(r"docs/\w+\.md", r"[\g<0>](../\g<0>)", line)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
