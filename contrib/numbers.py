"""Writes the numbers that README.md and results/README.md take from results/.

    python -m contrib.numbers

They stand between ``<!-- numbers: NAME -->`` and ``<!-- end -->``; NAME is one of :data:`BLOCKS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pdnas.report.claims import Claim, claims, table
from pdnas.report.collect import Collection, collect
from pdnas.report.columns import words
from pdnas.report.formats import Column, Table, to_markdown
from pdnas.runs import layout
from pdnas.support.files import read_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PAGES = (ROOT / "README.md", RESULTS / "README.md")
MARKED = re.compile(r"(<!-- numbers: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def published() -> dict[str, Collection]:
    """What each folder of results/ was published from, by its name."""
    folders = sorted(path.parent for path in RESULTS.glob(f"*/{layout.PUBLICATION}"))
    scales = {folder: next(folder.glob("*.yaml")) for folder in folders}
    return {folder.name: collect(str(scale), folder) for folder, scale in scales.items()}


def all_claims() -> Table:
    """The claims of all folders, corrected together; what two of them hold counts once."""
    found: dict[tuple[str, ...], Claim] = {}
    for folder, collection in published().items():
        for claim in claims(collection):
            key = (collection.name, claim.study, claim.question)
            found.setdefault(key, replace(claim, study=f"{folder}: {claim.study}"))
    return table(found.values())


def all_runs() -> Table:
    """What was run, on what, and by which code."""
    rows = []
    for folder in published():
        record = read_json(RESULTS / folder / layout.PUBLICATION)
        rows.append(
            (
                f"[{folder}]({folder})",
                record["description"],
                record["searches"],
                sum(record["wall_seconds"].values()) / 3600,
                "; ".join(record["hardware"]),
                record["finished"][:10],
                ", ".join(code.split()[-1][:7] for code in record["code"]),
            )
        )
    columns = (
        words("folder"),
        words("what", "what was run"),
        Column("searches", "searches"),
        Column("hours", "hours of all jobs", decimals=1),
        words("machine"),
        words("finished"),
        words("commits"),
    )
    return Table("runs", "Published runs", columns, tuple(rows))


BLOCKS: dict[str, Callable[[], Table]] = {"claims": all_claims, "runs": all_runs}
"""What makes each block, by its name."""


def renewed(page: str) -> str:
    """A page with all of its blocks as the results have them now."""

    def again(match: re.Match[str]) -> str:
        opening, name, _, end = match.groups()
        return f"{opening}\n{to_markdown(BLOCKS[name]())}\n{end}"

    return MARKED.sub(again, page)


def main() -> None:
    """Renew all pages."""
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
