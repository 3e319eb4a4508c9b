"""What one sees of a running workflow, in place of Snakemake's messages.

In a terminal: the running jobs with their own progress, and a bar with the time left. In a pipe or
file: one line a minute. Both: what failed, in the job's own words, and how to go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdnas.support.progress import Reading, clock, read

if TYPE_CHECKING:
    from rich.console import RenderableType

_SECONDS_BETWEEN_LINES = 60.0
_ROWS = 8
_TAIL = 2000  # bytes of a log that are looked at
_BRIEF = 5.0  # seconds of a job that computes nothing, until one is known
# Everything else may take long, so one has to be seen before the whole can be estimated.
_LONG = {"search", "rank", "retrain", "scores", "rival", "regress"}
# What Snakemake says besides of a failure that has been told.
_REPEATED = (
    "Exiting because a job execution failed",
    "At least one job did not complete successfully",
    "returned non-zero exit status",
)


def last_lines(path: Path) -> list[str]:
    """The last lines of a log that say something; none: there is no such file yet."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - _TAIL, 0))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def complaint(logs: Iterable[str]) -> str | None:
    """A failed job's own line: of pdnas if it said one, else its last."""
    lines = [line for log in logs for line in last_lines(Path(log))]
    own = [line for line in lines if line.startswith("pdnas:")]
    return (own or lines)[-1] if lines else None


@dataclass(frozen=True)
class Work:
    """A job as the estimate sees it.

    Attributes:
        kinds: what it is, from the most exact on: jobs of one kind take about as long.
        threads: processor cores that it takes.
    """

    kinds: tuple[tuple[str, ...], ...]
    threads: int = 1


def work_of(rule: str, wildcards: Mapping[str, str], threads: int) -> Work:
    """The kinds of a job: its rule with all wildcards but the seed, with its study, and alone."""
    study, variant = wildcards.get("study", ""), wildcards.get("variant", "")
    mode = wildcards.get("mode", "")
    return Work(((rule, mode, study, variant), (rule, mode, study), (rule, mode)), threads)


@dataclass
class Estimate:
    """Seconds that jobs took, by kind, and what they tell of those to come."""

    taken: dict[tuple[str, ...], list[float]] = field(default_factory=dict)

    def learn(self, work: Work, seconds: float) -> None:
        """A job has taken so long."""
        for kind in work.kinds:
            self.taken.setdefault(kind, []).append(seconds)

    def seconds(self, work: Work) -> float | None:
        """How long a job will take; None: nothing like it was seen."""
        for kind in work.kinds:
            if known := self.taken.get(kind):
                return sum(known) / len(known)
        return None if work.kinds[-1][0] in _LONG else _BRIEF

    def left(
        self, waiting: Iterable[Work], running: Sequence[tuple[Work, float | None]], cores: int
    ) -> tuple[float, bool]:
        """Seconds until all is done.

        Args:
            running: jobs at work, and the seconds that each has left, if it is known.
            cores: at work at a time.

        Returns:
            the seconds, and whether they hold all; else they are too few.
        """
        every = [*((work, self.seconds(work)) for work in waiting), *running]
        known = [(work, seconds) for work, seconds in every if seconds is not None]
        total = sum(min(work.threads, cores) * seconds for work, seconds in known) / cores
        longest = max((seconds for _, seconds in known), default=0.0)
        return max(total, longest), len(known) == len(every)


@dataclass
class _Running:
    name: str
    work: Work
    logs: list[str]
    start: float = field(default_factory=time.monotonic)

    @property
    def reading(self) -> Reading | None:
        """What the job's log says of its progress."""
        for log in self.logs:
            for line in reversed(last_lines(Path(log))):
                if found := read(line):
                    return found
        return None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def left(self, estimate: Estimate) -> float | None:
        if reading := self.reading:
            return reading.left
        expected = estimate.seconds(self.work)
        return None if expected is None else max(expected - self.elapsed, 0.0)

    def __str__(self) -> str:
        if (reading := self.reading) is None:
            return f"{self.name}: for {clock(self.elapsed)}"
        return f"{self.name}: {reading.done}/{reading.total}, {clock(reading.left)} left"


class View(logging.Handler):
    """Takes Snakemake's messages and shows what matters; until the jobs begin, all as usual.

    Args:
        usual: Snakemake's own handler of messages to people.
        workflow: Snakemake's.
    """

    def __init__(self, usual: logging.Handler, workflow: Any) -> None:
        super().__init__()
        self._usual, self._workflow = usual, workflow
        self._begun = self._drawn = self._interrupted = False
        self._start = time.monotonic()
        self._done = self._total = 0
        self._waiting: dict[int, Work] = {}
        self._running: dict[int, _Running] = {}
        self._estimate = Estimate()
        self._end = threading.Event()
        self._live: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if not self._begun:
            if event == "workflow_started":
                self._begun = True
            else:
                self._usual.handle(record)
            return
        try:
            actions = {
                "run_info": self._plan,
                "job_info": self._started,
                "job_finished": self._finished,
                "job_error": self._error,
                "progress": self._progress,
            }
            actions.get(str(event), self._other)(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Stop drawing."""
        self._end.set()
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._usual.close()
        super().close()

    def finish(self, success: bool) -> None:
        """Say how it ended: where the results lie, or how to go on."""
        if self._live is not None:
            self._live.stop()
        self._end.set()
        if success:
            self._say(f"Done in {clock(time.monotonic() - self._start)}: {self._results()}")
        elif self._interrupted:
            self._say("Stopped. The same command goes on where this one stopped.")
        else:
            self._say(
                f"{self._done} of {self._total} jobs are done. Mend what is said above; the same "
                "command then goes on from there."
            )

    def _plan(self, _record: logging.LogRecord) -> None:
        """The jobs are known."""
        dag = self._workflow.dag
        self._total = len(dag)
        self._waiting = {
            dag.jobid(job): work_of(job.rule.name, job.wildcards_dict, job.threads)
            for job in dag.needrun_jobs()
        }
        self._say(f"{self._total} jobs to run; what they say lies beside their results, in log/")

    def _draw(self) -> None:
        """Begin to show progress; not before the first job, since data may be fetched till then."""
        from rich.console import Console
        from rich.live import Live

        self._drawn = True
        console = Console(stderr=True)
        if console.is_interactive:
            self._live = Live(
                get_renderable=self._picture,
                console=console,
                refresh_per_second=1,
                transient=True,
            )
            self._live.start()
        else:
            threading.Thread(target=self._report, daemon=True).start()

    def _report(self) -> None:
        while not self._end.wait(_SECONDS_BETWEEN_LINES):
            self._say("; ".join([self._summary(), *map(str, list(self._running.values()))]))

    def _started(self, record: logging.LogRecord) -> None:
        job: Any = record
        work = self._waiting.pop(job.jobid, None)
        if not self._drawn:
            self._draw()
        name = str(job.rule_msg or job.rule_name)
        if work is None:  # sent again
            work = work_of(job.rule_name, job.wildcards, job.threads)
        self._running[job.jobid] = _Running(name, work, list(job.log))

    def _finished(self, record: logging.LogRecord) -> None:
        job = self._running.pop(getattr(record, "job_id", -1), None)
        if job is None:
            return
        self._estimate.learn(job.work, job.elapsed)
        # A job that may do without something says so.
        words = complaint(job.logs) or ""
        if words.startswith("pdnas: error:"):
            self._say(f"{job.name}: {words.removeprefix('pdnas: error: ')}")
        elif self._live is not None:
            self._say(f"{job.name}: done in {clock(job.elapsed)}")

    def _error(self, record: logging.LogRecord) -> None:
        error: Any = record
        job = self._running.pop(error.jobid, None)
        if self._interrupted:
            return
        name = job.name if job else error.rule_name
        said = complaint(error.log) or "it said nothing"
        self._say(f"Failed: {name}\n{said}")
        if error.log:
            self._say(f"All that it said: {', '.join(error.log)}")

    def _progress(self, record: logging.LogRecord) -> None:
        progress: Any = record
        self._done, self._total = progress.done, progress.total

    def _other(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Terminating processes on user request"):
            self._interrupted = True
            self._say("Stopping the jobs ...")
        elif message.startswith("Nothing to be done"):
            self._say(f"{message}\n{self._results()}")
        elif self._interrupted or any(words in message for words in _REPEATED):
            return
        elif record.levelno >= logging.WARNING:
            self._say(self._usual.format(record))

    def _results(self) -> str:
        """What was asked for: a page if there is one, else the first files."""
        found = [
            str(path)
            for job in self._workflow.dag.targetjobs
            for path in (job.output or job.input)
            if Path(path).is_file()
        ]
        pages = [path for path in found if path.endswith(".html")]
        return ", ".join(pages or sorted(found)[:3])

    def _summary(self) -> str:
        running = [(job.work, job.left(self._estimate)) for job in list(self._running.values())]
        threads = sum(work.threads for work, _ in running)
        cores = max(self._workflow.resource_settings.cores or 1, 1)
        if not self._workflow.local_exec:
            cores = max(threads, 1)
        seconds, complete = self._estimate.left(list(self._waiting.values()), running, cores)
        text = f"{self._done} of {self._total} jobs, {clock(time.monotonic() - self._start)}"
        if complete:
            return f"{text}, about {clock(seconds)} left"
        return f"{text}, more than {clock(seconds)} left" if seconds else text

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        jobs = list(self._running.values())
        rows = [str(job) for job in jobs[:_ROWS]]
        if len(jobs) > _ROWS:
            rows.append(f"and {len(jobs) - _ROWS} more")
        last = Table.grid(padding=(0, 1))
        last.add_row(ProgressBar(max(self._total, 1), self._done, width=20), Text(self._summary()))
        return Group(*(Text(row, no_wrap=True, overflow="ellipsis") for row in rows), last)

    def _say(self, text: str) -> None:
        from rich.console import Console

        console = self._live.console if self._live is not None else Console(stderr=True)
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def attach(workflow: Any) -> View | None:
    """Show a workflow this way, unless another one was asked for.

    Returns:
        None for a job's own process, a dry run, ``--quiet``, ``--verbose``,
        ``--printshellcmds`` and where a logger plugin writes to the terminal.
    """
    settings, logger = workflow.output_settings, logging.getLogger("snakemake.logging")
    own = (each for each in logger.handlers if each.name == "DefaultStreamHandler")
    usual = next(own, None)
    quieter = {each.name for each in settings.quiet or ()} - {"REASON", "HOST"}
    asked = settings.dryrun or quieter or settings.verbose or settings.printshellcmds
    if not workflow.is_main_process or asked or usual is None:
        return None
    logger.removeHandler(usual)
    view = View(usual, workflow)
    logger.addHandler(view)
    return view
