"""What a workflow's view makes of logs and of the time that jobs took."""

from __future__ import annotations

from pathlib import Path

from pdnas.support.workflow_view import Estimate, complaint, work_of


def test_a_failed_jobs_own_line(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert complaint([str(log)]) is None
    log.write_text("Traceback\nKeyError: 'x'\n\n")
    assert complaint([str(log)]) == "KeyError: 'x'"
    log.write_text("search a/b: 1/2\npdnas: error: no space\nit was nice\n")
    assert complaint([str(log)]) == "pdnas: error: no space"


def test_the_time_left_follows_jobs_of_the_same_kind() -> None:
    estimate = Estimate()
    wildcards = {"study": "a", "variant": "x", "seed": "0"}
    search = work_of("search", wildcards, 1)
    other = work_of("search", wildcards | {"variant": "y"}, 1)
    table = work_of("table3", {}, 1)
    assert estimate.left([search, table], [], 2) == (5.0, False)  # no search was seen
    estimate.learn(search, 100)
    assert estimate.left([search, other], [], 2) == (100.0, True)
    estimate.learn(other, 300)
    assert estimate.left([search, other], [], 1) == (400.0, True)
    # It cannot end before the longest job does.
    assert estimate.left([], [(search, 50.0), (other, 290.0)], 2) == (290.0, True)
    assert estimate.left([], [(search, None)], 2) == (0.0, False)
