"""The whole workflow at the smoke scale, and its report in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ENVIRONMENT
from ..processes import snakemake

pytestmark = pytest.mark.slow

SNAKEFILE = Path(__file__).parents[2] / "workflow" / "Snakefile"


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the whole workflow was run at the smoke scale."""
    folder = tmp_path_factory.mktemp("smoke")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words(folder, "all")],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def words(folder: Path, *target: str | Path) -> list[str]:
    return [
        *("--snakefile", str(SNAKEFILE), "--directory", str(folder), "--cores", "2"),
        *(*map(str, target), "--config", "scale=smoke"),
    ]


def test_the_whole_workflow_at_smoke_scale(smoke: Path) -> None:
    report = smoke / "runs" / "smoke" / "report"
    table = (report / "tables" / "table3.md").read_text()
    assert "±" in table, "no measured interval in Table 3"
    assert "not run" in (report / "tables" / "table9.md").read_text()
    assert (report / "figures" / "figure1.png").stat().st_size > 10_000
    for seed in range(2):
        folder = smoke / "runs" / "smoke" / "multibranch" / "random" / f"seed{seed}"
        record = json.loads((folder / "run.json").read_text())
        guided = json.loads((folder.parents[1] / "guided" / f"seed{seed}" / "run.json").read_text())
        assert record["provenance"]["seed"] == guided["provenance"]["seed"] == seed
        assert 0 < record["fixed_drop_probability"] < 1

    again = snakemake(smoke, *words(smoke, "all"))
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_snakemakes_own_report_holds_all_results(smoke: Path) -> None:
    page = smoke / "report.html"
    made = snakemake(smoke, *words(smoke, "--report", page))
    assert made.returncode == 0, made.stderr[-2000:]
    text = page.read_text()
    for name in ("table3.md", "table9.md", "figure1.png", "best-of-n.png"):
        assert name in text


# In a frame, because a window of headless Chromium is never narrower than 500 pixels.
PROBE = string.Template("""
<!doctype html>
<iframe style="width: ${width}px; height: 900px; border: 0" srcdoc="$page"></iframe>
<pre id="probe"></pre>
<script>
addEventListener("load", () => {
  const view = frames[0], page = view.document, root = page.documentElement;
  document.getElementById("probe").textContent = JSON.stringify({
    broken: [...page.images].filter(image => !image.naturalWidth).length,
    images: page.images.length,
    tables: page.querySelectorAll("section table").length,
    requests: view.performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    dangling: [...page.links].filter(link => !page.querySelector(link.hash)).length,
    overflow: root.scrollWidth - root.clientWidth,
    width: view.innerWidth,
  });
});
</script>
""")


@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_the_page_in_a_browser(smoke: Path, tmp_path: Path, width: int) -> None:
    report = smoke / "runs" / "smoke" / "report"
    probed = tmp_path / "probed.html"
    page = html.escape((report / "report.html").read_text())
    probed.write_text(PROBE.substitute(width=width, page=page))
    dom, log = chromium(tmp_path, "--window-size=1400,1000", "--dump-dom", probed)
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom)
    assert found is not None, log[-2000:]
    assert json.loads(found[1]) == {
        "broken": 0,
        "images": len(list((report / "figures").glob("*.png"))),
        "tables": len(list((report / "tables").glob("*.csv"))),
        "requests": [],
        "dangling": 0,
        "overflow": 0,
        "width": width,
    }
    assert "CONSOLE" not in log


def test_the_page_prints(smoke: Path, tmp_path: Path) -> None:
    page, printed = smoke / "runs" / "smoke" / "report" / "report.html", tmp_path / "page.pdf"
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={printed}", page)
    assert printed.read_bytes().startswith(b"%PDF")
    assert printed.stat().st_size > 100_000, "the figures are missing"


def chromium(home: Path, *arguments: str | Path) -> tuple[str, str]:
    """What headless Chromium prints, and its log with the page's console messages."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            # No address can be found, so what a page fetches fails, loudly.
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={home / 'browser'}"),
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr
