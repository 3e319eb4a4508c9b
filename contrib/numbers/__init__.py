"""Writes the numbers that pages take from results/.

    python -m contrib.numbers

They stand between ``<!-- numbers: NAME -->`` and ``<!-- end -->``; NAME is one of :data:`TABLES` or
:data:`TEXTS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from contrib.numbers import cells, channels, claims, folders, speed
from contrib.numbers.published import RESULTS, ROOT, STAND_INS, bare
from pdnas.report.claims import table as claims_table
from pdnas.report.formats import Table, to_markdown

PAGES = (
    ROOT / "README.md",
    RESULTS / "README.md",
    *(ROOT / "docs" / name for name in ("cluster.md", "nasbench201.md", "speed.md", "truths.md")),
)
MARKED = re.compile(r"(<!-- numbers: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

TABLES: dict[str, Callable[[], Table]] = {
    "reproduced": claims.reproduced,
    "guidance": claims.guidance,
    "transfer": claims.transfer,
    "seeds-alone": claims.seeds_alone,
    "choice": claims.choice,
    "worth": lambda: claims.worth("laptop-alone/alone.json", (50, 200), "loss_end"),
    "private": lambda: claims.worth("shared/private.json", (10, 30, 100), "validation_loss"),
    "sizes": claims.sizes,
    "runs": folders.runs,
    "scales": folders.scales,
    "networks": lambda: channels.networks("laptop"),
    "stand-ins": channels.stand_ins,
    "stand-in-claims": claims.stand_in_claims,
    "stand-in-extraction": lambda: channels.extraction(STAND_INS),
    "differences": channels.differences,
    "ablations": channels.ablations,
    "extraction": lambda: channels.extraction("laptop"),
    "efficiency": lambda: cells.efficiency("laptop"),
    "methods": lambda: cells.methods("laptop-nasbench"),
    "compared": cells.compared,
    "settings": cells.settings,
    "searches": cells.searches,
    "macro": cells.macro,
    "shared": lambda: cells.methods("shared"),
    "gpu-methods": lambda: cells.methods("gpu"),
    "gpu-networks": lambda: channels.networks("gpu"),
    "bench-extraction": speed.extraction,
    "bench-growth": speed.growth,
    "imagenet": speed.imagenet,
}
"""Blocks that are a table without its notes, by their name."""

TEXTS: dict[str, Callable[[], str]] = {
    "answer": claims.answer,
    "stand-ins-together": channels.stand_ins_together,
    "claims": lambda: to_markdown(claims_table(claims.all_claims())).partition("\n")[2].strip(),
    "bench": lambda: f"{bare(speed.bench())}\n\n{speed.machines()}",
}
"""All others."""


def block(name: str) -> str:
    """What stands between the marks of this name."""
    return bare(TABLES[name]()) if name in TABLES else TEXTS[name]()


def renewed(page: str) -> str:
    """A page with all of its blocks as the results have them now."""

    def again(match: re.Match[str]) -> str:
        opening, name, _, end = match.groups()
        return f"{opening}\n{block(name)}\n\n{end}"

    return MARKED.sub(again, page)


def main() -> None:
    """Renew all pages."""
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
