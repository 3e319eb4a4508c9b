"""Which code and which libraries made a number, where neither is a matter of course."""

import pytest

import pdnas
from pdnas import provenance


@pytest.fixture
def copy(monkeypatch, tmp_path):
    """A copy of the package without the history."""
    monkeypatch.setattr(pdnas, "__file__", str(tmp_path / "pdnas" / "__init__.py"))
    monkeypatch.delenv("PDNAS_COMMIT", raising=False)


def code_version():
    return provenance.code_version.__wrapped__()


def test_a_copy_without_history_says_so_unless_it_is_told_its_commit(copy, monkeypatch):
    assert code_version() == f"{pdnas.__version__} (no git checkout)"
    monkeypatch.setenv("PDNAS_COMMIT", "0123456789ab")
    assert code_version() == f"{pdnas.__version__} 0123456789ab"


def test_a_checkout_knows_its_own_commit_better(monkeypatch):
    if "no git checkout" in code_version():
        pytest.skip("the tests run in a copy without the history")
    monkeypatch.setenv("PDNAS_COMMIT", "0123456789ab")
    assert "0123456789ab" not in code_version()


def test_absent_libraries_are_null(monkeypatch):
    monkeypatch.setattr(provenance, "LIBRARIES", ("torch", "no-such-library"))
    record = provenance.provenance({}, 0, provenance.Stopwatch())
    assert record["libraries"]["torch"]
    assert record["libraries"]["no-such-library"] is None
