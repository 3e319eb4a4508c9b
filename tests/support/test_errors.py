"""What people read when something is wrong."""

from __future__ import annotations

from pdnas.support.errors import PdnasError


def test_a_message_is_one_line_whatever_it_quotes() -> None:
    assert str(PdnasError("no gate 'é\n\x1b[2J\u2028'; name one")) == (
        r"no gate 'é\n\x1b[2J\u2028'; name one"
    )
