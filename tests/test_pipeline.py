"""The stages as a user runs them: kills, bad input, and the whole workflow at the smoke scale."""

from __future__ import annotations

import html
import json
import os
import random
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from pdnas.config import SCALES

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pdnas.cli", *map(str, arguments)]


def pdnas(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        env={**ENVIRONMENT, **environment},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished, uninterrupted search."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = pdnas("search", "multibranch", "guided", "--scale", "smoke", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One clear line on standard error, and exit code 2."""
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("pdnas: error: ")
    for word in words:
        assert word in done.stderr


def test_no_stage_imports_torchvision_or_the_compiler() -> None:
    """Either costs a command more than a second; docs/speed.md."""
    stages = "pdnas.train.search, pdnas.sample, pdnas.rank, pdnas.train.retrain, pdnas.extract"
    unwanted = "{'torchvision', 'torch._dynamo'} & {*sys.modules}"
    code = f"import sys, {stages}; sys.exit(bool({unwanted}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_killed_search_ends_with_the_same_bits(run: Path, tmp_path: Path) -> None:
    search = command("search", "multibranch", "guided", "--scale", "smoke", "--out", tmp_path)
    process = subprocess.Popen(search, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    while not list(
        tmp_path.glob("checkpoint/*/epoch-*.safetensors")
    ):  # let it finish an epoch or more
        assert process.poll() is None, "the search ended before its first checkpoint was seen"
        time.sleep(0.01)
    time.sleep(random.random())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run.json").exists(), "it was killed too late to test anything"

    done = subprocess.run(search, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert "1/6" not in done.stderr, "it began anew instead of going on"
    for name in ("weights.safetensors", "posterior.safetensors"):
        resumed, whole = load_file(tmp_path / name), load_file(run / name)
        assert resumed.keys() == whole.keys()
        assert all(torch.equal(resumed[key], whole[key]) for key in whole), name
    trajectories = [pd.read_parquet(folder / "trajectory.parquet") for folder in (tmp_path, run)]
    pd.testing.assert_frame_equal(*trajectories)
    assert not (tmp_path / "checkpoint").exists()


def test_a_search_that_stops_in_time_says_so_and_goes_on(tmp_path: Path) -> None:
    search = ["search", "nasbench201", "guided", "--scale", "smoke", "--out", tmp_path]
    done = pdnas(*search, "--stop-after", "0")
    assert done.returncode == 75
    *_, line = done.stderr.splitlines()
    assert "stopped after epoch 1/4" in line
    assert "same command" in line
    assert not (tmp_path / "run.json").exists()
    done = pdnas(*search, "--stop-after", "9")
    assert done.returncode == 0, done.stderr
    assert "1/4" not in done.stderr, "it began anew instead of going on"


def test_a_full_disk_loses_nothing_that_was_finished(run: Path, tmp_path: Path) -> None:
    """A search on a tiny file system of its own, which grows after the search has filled it."""
    disk, results = tmp_path / "disk", tmp_path / "results"
    disk.mkdir()
    search = shlex.join(
        command("search", "multibranch", "guided", "--scale", "smoke", "--out", disk / "run")
    )
    steps = f"""
        mount -t tmpfs -o size=240k tmpfs {disk} || exit 77
        {search}; test $? -eq 2 || exit 1
        ls {disk}/run/checkpoint/*/epoch-*.safetensors || exit 1
        mount -o remount,size=20m {disk}
        {search} || exit 1
        cp -r {disk}/run {results}
    """
    unshare = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", steps]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this system")
    done = subprocess.run(unshare, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip("this system lets no user mount a file system")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pdnas: error: cannot write") == 1
    assert "No space left on device" in done.stderr
    assert "6/6" in done.stderr
    resumed, whole = (load_file(folder / "weights.safetensors") for folder in (results, run))
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_search_refuses_what_is_unknown(tmp_path: Path) -> None:
    assert_refused(pdnas("search", "multibranch", "guided", "--scale", "huge"), "huge", "laptop")
    assert_refused(pdnas("search", "nope", "guided", "--scale", "smoke"), "nope", "multibranch")
    broken = tmp_path / "broken.yaml"
    text = (SCALES / "smoke.yaml").read_text()
    broken.write_text(text.replace("name: digits", "name: mnist"))
    assert_refused(pdnas("search", "multibranch", "guided", "--scale", broken), "mnist")


def test_later_stages_refuse_what_is_missing_or_damaged(run: Path, tmp_path: Path) -> None:
    assert_refused(pdnas("sample", tmp_path), "no finished search")
    assert_refused(pdnas("rank", run, "--source", "uniform"), "candidates-uniform")
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert pdnas("sample", copy, "--count", "2").returncode == 0
    assert_refused(pdnas("rank", copy), "weights.safetensors", "delete it")


def test_missing_data_without_network(tmp_path: Path) -> None:
    scale = tmp_path / "real.yaml"
    scale.write_text((SCALES / "smoke.yaml").read_text().replace("name: digits", "name: cifar100"))
    done = pdnas("search", "multibranch", "guided", "--scale", scale, PDNAS_DATA=str(tmp_path))
    assert_refused(done, "CIFAR-100", str(tmp_path))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the whole workflow was run at the smoke scale."""
    folder = tmp_path_factory.mktemp("smoke")
    done = snakemake(folder, "all")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def snakemake(folder: Path, *target: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
            *("--directory", str(folder), "--cores", "2", *map(str, target)),
            *("--config", "scale=smoke"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )


@pytest.mark.slow
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

    again = snakemake(smoke, "all")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.slow
def test_snakemakes_own_report_holds_all_results(smoke: Path) -> None:
    page = smoke / "report.html"
    made = snakemake(smoke, "--report", page)
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


@pytest.mark.slow
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


@pytest.mark.slow
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
