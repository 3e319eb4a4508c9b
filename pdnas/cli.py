"""Where the command line begins, so it imports nothing before it knows what is to be done here.

Nothing at all before :func:`main` looks out for Ctrl-C: imports take their time on a busy machine.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def main(commands: Callable[[], object] | None = None) -> None:
    """Run a command line; what the user can mend ends with one line and exit code 2.

    Work that stopped in time, with a checkpoint, ends with exit code 75.

    Args:
        commands: what runs it; default: pdnas' own, in a forked process where a workflow has a
            server for that (:mod:`pdnas.support.forkserver`).
    """
    try:
        from pdnas.support.errors import PdnasError, Unfinished
        from pdnas.support.hand_over import hand_over
        from pdnas.support.workflow import end_with_workflow

        if commands is None:
            if (code := hand_over(sys.argv[1:])) is not None:
                sys.exit(code)
            from pdnas.commands.app import app

            commands = app
        end_with_workflow()
        _run(commands)
    except KeyboardInterrupt:  # first, as it may come before the others are known
        print("pdnas: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except PdnasError as error:
        print(f"pdnas: error: {error}", file=sys.stderr)
        sys.exit(2)
    except Unfinished as pause:
        print(f"pdnas: {pause}; run the same command again to go on", file=sys.stderr)
        sys.exit(75)


def _run(commands: Callable[[], object]) -> None:
    """Typer makes an exit code of Ctrl-C; here it is Ctrl-C again."""
    try:
        commands()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise KeyboardInterrupt from end
        raise


if __name__ == "__main__":
    main()
