"""The docs site (`make site`): pages as they stand, and what is made of others when it is built.

Its source folder is the repository, so links between pages are those that GitHub follows.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import yaml

import pdnas
from pdnas.report.page import CAPTIONS
from pdnas.runs import layout
from pdnas.spec.products import FIGURES, OFFICIAL_FIGURES

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"

GALLERY = "docs/site/figures"
CITATION = "docs/site/cite"

NAVIGATION = {
    "Use it": [
        "docs/running",
        "docs/words",
        "config/README",
        "docs/python",
        "notebooks/README",
        "docs/pictures",
    ],
    "What was found": ["results/README", GALLERY, "docs/truths", "docs/nasbench201"],
    "The method": ["docs/method", "docs/audit", "docs/rivals"],
    "Machines": ["docs/gpu", "docs/cluster", "docs/speed", "docs/reliability"],
    "Extend it": ["docs/house", "docs/site/api", "docs/files", "CONTRIBUTING", "findings/README"],
    "About": [CITATION, "CHANGELOG"],
}
"""The pages below README, by section; each has its first heading as its title."""

BIBTEX = {
    "software": ("software", "version"),
    "conference-paper": ("inproceedings", "booktitle"),
    "article": ("article", "journal"),
}
"""A type of CITATION.cff: that of BibTeX, and the field for where it appeared."""

project = "pdnas"
release = pdnas.__version__
root_doc = "README"
include_patterns = [
    "*.md",
    "*/README.md",
    "docs/**",
    "results/bench/*",
    "results/*/report/tables/*",
]
exclude_patterns = [".*", "build", "runs"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
default_role = "code"
highlight_language = "text"
smartquotes = False
nitpick_ignore_regex = [("py:(class|exc)", r"(?!pdnas\.).*")]  # the types of others
html_theme = "furo"
html_title = "pdnas"
html_static_path = html_css_files = ["style.css"]
html_show_copyright = html_copy_source = False


def setup(app: Sphinx) -> None:
    app.connect("source-read", lambda _, page, source: source.append(made(page, source.pop())))
    app.connect("autodoc-process-docstring", keep_colon, priority=0)
    app.connect("autodoc-process-signature", signature_as_written)
    app.connect("missing-reference", known_without_page)
    app.connect("build-finished", begin_with_readme)


def made(page: str, text: str) -> str:
    """A page's source with what is made for it."""
    if page == root_doc:
        return text + "".join(navigation())
    if page == GALLERY:
        return text + "\n".join(gallery())
    if page == CITATION:
        return text + "\n".join(bibtex())
    if page.startswith("results/") and page != "results/README":
        return "---\norphan: true\n---\n" + re.sub(r"\A\*\*(.*)\*\*", r"# \1", text)
    return text


def navigation() -> Iterator[str]:
    """The sections of the sidebar, in Markdown."""
    for caption, pages in NAVIGATION.items():
        entries = "\n".join(f"/{page}" for page in pages)
        yield f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"


def gallery() -> Iterator[str]:
    """What every folder of results/ shows, in reStructuredText."""
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        yield from (f"\n.. _{way}{folder.name}:" for way in ("", "results/", "../results/"))
        yield f"\n{folder.name}\n{'-' * len(folder.name)}\n"
        if (folder / layout.PUBLICATION).exists():
            yield json.loads((folder / layout.PUBLICATION).read_text())["description"] + ".\n"
        tables = sorted(folder.glob("report/tables/*.md")) or sorted(folder.glob("*.md"))
        links = (
            f":doc:`{path.stem} </{path.relative_to(ROOT).with_suffix('')}>`" for path in tables
        )
        if tables:
            yield f"Tables: {', '.join(links)}.\n"
        places = [f"{layout.REPORT}/figures/{name}.png" for name in FIGURES]
        places += [f"{name}.png" for name in OFFICIAL_FIGURES]
        for image in (folder / place for place in places):
            if image.exists():
                yield from figure(image)


def figure(image: Path) -> Iterator[str]:
    """A published figure with its caption; images have two pixels for one of the page."""
    place = f"/{image.relative_to(ROOT).with_suffix('')}"
    caption = (CAPTIONS / "figures" / f"{image.stem}.rst").read_text()
    yield f"{image.stem}\n{'^' * len(image.stem)}\n"
    yield f".. figure:: {place}.png\n   :scale: 50\n   :loading: lazy\n"
    yield "\n".join(f"   {line}".rstrip() for line in caption.splitlines())
    yield f"\n   :download:`PDF <{place}.pdf>`, :download:`data <{place}.csv>`\n"


def bibtex() -> Iterator[str]:
    """What CITATION.cff says, as BibTeX: the software, then what it builds on."""
    software = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    for work in (software, *software["references"]):
        kind, place = BIBTEX[work["type"]]
        authors = [
            f"{{{author['name']}}}"
            if "name" in author
            else "{family-names}, {given-names}".format(**author)
            for author in work["authors"]
        ]
        fields = {
            "title": f"{{{work['title']}}}",
            "author": " and ".join(authors),
            place: work.get("collection-title") or work.get("journal") or work.get("version"),
            "year": work.get("year"),
            "note": ", ".join(identifier["value"] for identifier in work.get("identifiers", [])),
        }
        key = (
            f"{work['authors'][0]['family-names'].lower()}{work['year']}"
            if "year" in work
            else project
        )
        yield f"\n{work.get('notes', 'This software.')}\n\n.. code-block:: bibtex\n"
        yield f"   @{kind}{{{key},"
        yield from (f"     {name} = {{{value}}}," for name, value in fields.items() if value)
        yield "   }\n"


def signature_as_written(
    app: Sphinx, what: str, name: str, of: Any, options: object, *found: str | None
) -> tuple[str | None, str | None]:
    """Types by the names that the code has for them, not what these stand for."""
    from sphinx.util.inspect import stringify_signature

    if what not in ("function", "method"):
        return found[0], found[1]
    signature = inspect.signature(of)
    own = [each for each in signature.parameters.values() if each.name != "self"]
    return stringify_signature(signature.replace(parameters=own)), None


def keep_colon(app: Sphinx, what: str, name: str, of: Any, options: object, doc: list[str]) -> None:
    """Napoleon takes what stands before a colon in an attribute's first line for its type."""
    if what in ("attribute", "data", "property"):
        doc.insert(0, "\\")  # which reStructuredText shows as nothing


def known_without_page(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element
) -> Element | None:
    """A reference to code that exists and has no page is its text; without the code, it is dead."""
    try:
        resolve_name(node["reftarget"])
    except (ImportError, AttributeError, ValueError):
        return None
    return text


def begin_with_readme(app: Sphinx, problem: Exception | None) -> None:
    """A site begins with its index.html."""
    if problem is None:
        shutil.copy(app.outdir / f"{root_doc}.html", app.outdir / "index.html")
