"""Draws docs/house.svg: the floors that pyproject.toml states, and who imports whom.

    python -m contrib.house

An arrow that others imply is left out: where a room uses one above another, it may use both.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from html import escape
from itertools import product
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "house.svg"
WIDTH, LINE, PAD, GAP = 960, 17, 10, 34
STYLE = (
    "text{font:13px sans-serif;fill:#222}.name{font-weight:bold}.modules{font-family:monospace;"
    "font-size:12px;fill:#555}rect{fill:#f6f3ec;stroke:#888}"
    "line{stroke:#4878a8;stroke-width:1.5;marker-end:url(#end)}"
)
END = (
    '<marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="#4878a8"/></marker>'
)


def floors() -> list[list[str]]:
    """The rooms of each floor, from the top, as the contract of pyproject.toml has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        each for each in settings["tool"]["importlinter"]["contracts"] if "containers" in each
    )
    return [[room.strip() for room in floor.split("|")] for floor in contract["layers"]]


def arrows(rooms: list[str]) -> list[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second, without those that others imply."""
    graph = grimp.build_graph("pdnas", cache_dir=None)
    for room in rooms:
        graph.squash_module(f"pdnas.{room}")
    uses = {
        (one, other)
        for one, other in product(rooms, rooms)
        if graph.direct_import_exists(importer=f"pdnas.{one}", imported=f"pdnas.{other}")
    }
    reach = set(uses)
    for between, one, other in product(rooms, rooms, rooms):
        if {(one, between), (between, other)} <= reach:
            reach.add((one, other))
    implied = {
        (one, other)
        for one, between, other in product(rooms, rooms, rooms)
        if {(one, between), (between, other)} <= reach
    }
    return sorted(uses - implied)


def words(room: str, width: int) -> list[tuple[str, str]]:
    """Lines of a room's box with their classes: its name, what it is for, its modules."""
    folder = ROOT / "pdnas" / room
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    purpose = (ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "").split("\n")
    modules: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        if path.name != "__init__.py":
            inner = path.parent.relative_to(folder).as_posix()
            modules.setdefault("" if inner == "." else f"{inner}/  ", []).append(path.stem)
    lines = [("name", room)]
    lines += [("", line) for line in textwrap.wrap(purpose[0], int(width / 6.8))]
    for inner, names in modules.items():
        text = inner + "  ".join(names)
        lines += [("modules", line) for line in textwrap.wrap(text, int(width / 7.5))]
    return lines


def picture() -> str:
    """The picture as SVG."""
    top = PAD
    boxes: dict[str, tuple[float, float, float, float]] = {}
    texts = []
    for floor in floors():
        width = (WIDTH - 2 * PAD - GAP * (len(floor) - 1)) / len(floor)
        filled = {room: words(room, int(width - 2 * PAD)) for room in floor}
        height = LINE * max(map(len, filled.values())) + PAD
        for place, (room, lines) in enumerate(filled.items()):
            left = PAD + place * (width + GAP)
            boxes[room] = (left, top, width, height)
            for number, (kind, line) in enumerate(lines, start=1):
                at = f'class="{kind}" x="{left + PAD:g}" y="{top + number * LINE:g}"'
                texts.append(f"<text {at}>{escape(line)}</text>")
        top += height + GAP
    rects = [
        f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="4"/>'
        for x, y, w, h in boxes.values()
    ]
    lines = []
    for one, other in arrows(list(boxes)):
        (x, y, w, h), (u, v, s, _) = boxes[one], boxes[other]
        ends = f'x1="{x + w / 2:g}" y1="{y + h:g}" x2="{u + s / 2:g}" y2="{v:g}"'
        lines.append(f"<line {ends}/>")
    size = f'width="{WIDTH}" height="{top:g}" viewBox="0 0 {WIDTH} {top:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return "\n".join([head, f"<style>{STYLE}</style>", END, *lines, *rects, *texts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(PICTURE)
