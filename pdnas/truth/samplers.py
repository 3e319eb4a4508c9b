"""Anybody's distribution over a ground truth's architectures, as probabilities of its rows.

Three forms are understood, as a CSV or Parquet table, a data frame, or what Python has for them:

===================================== ============================================================
columns                               meaning
===================================== ============================================================
``name``, ``probability``             of each architecture; those that are not named have none
``switch``, ``option``, ``probability`` independent switches; ``position`` may stand for ``switch``
``name`` alone                        a list of samples; each architecture's share of them
===================================== ============================================================

The folder of a run over the truth's architectures stands for its posterior. Such a run may choose
among fewer than all of them, and says on which images it was trained (:class:`Sampler`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.runs import layout
from pdnas.runs.run import Run
from pdnas.space.cells import CellSpace
from pdnas.support.errors import PdnasError, first_line
from pdnas.truth.efficiency import (
    load_macro_probabilities,
    load_probabilities,
    load_size_probabilities,
    own_truth,
)
from pdnas.truth.sampling import Floats, normalised
from pdnas.truth.tables import Truth

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-4
"""How far from 1 a written sum may be: probabilities are often rounded."""

_FORMS = "name and probability; switch, option and probability; or name alone"


@dataclass(frozen=True)
class Sampler:
    """A distribution over a truth's architectures.

    Attributes:
        q: their probabilities, shape (n,), summing to 1.
        rows: of those that can be chosen, to which uniform sampling is held too; None: all.
        run: the folder of the run that it was read from; None: it was given by itself.
    """

    q: Floats
    rows: NDArray[np.int64] | None = None
    run: Path | None = None

    @classmethod
    def of(cls, given: Any, truth: Truth) -> Sampler:
        """What Python users give, or the path of a file or run.

        Raises:
            PdnasError: as :func:`of_anything`.
        """
        if isinstance(given, Run):
            given = given.folder
        if isinstance(given, str | Path):
            given = Path(given).expanduser()
            if given.is_dir():
                return cls(*_of_run(given, truth), given)
            return cls(read(given, truth))
        return cls(of_anything(given, truth))

    def dataset(self, named: str | None, truth: Truth) -> str:
        """The data set to be judged by: the named one, else the run's own, else the truth's first.

        Raises:
            PdnasError: the truth does not know it.
        """
        if self.run is None or named is not None:
            return truth.known(named)
        return own_truth([self.run], truth.datasets, truth.name)


def read(path: Path, truth: Truth) -> Floats:
    """The distribution in a CSV or Parquet file, shape (n,), summing to 1.

    Raises:
        PdnasError: there is no such file, its columns are others, a row has more fields than the
            header, a name or an option is unknown or there twice, or the probabilities are none.
    """
    import pandas as pd

    if not path.is_file():
        raise _no_distribution(f"{path} does not exist", truth)
    if path.name == layout.POSTERIOR:
        raise _no_distribution(f"{path} is a file of a run", truth)
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    except (ValueError, OSError) as error:  # the parsers' errors are among them
        raise PdnasError(f"{path} is no readable table: {first_line(error)}") from error
    return of_table(table, truth, str(path))


def _no_distribution(found: str, truth: Truth) -> PdnasError:
    """What was found, and what may be given."""
    run = f", or the folder of a run of {truth.name}" if truth.name in _OF_RUNS else ""
    return PdnasError(f"{found}; give a CSV or Parquet table of probabilities{run}")


def _csv(path: Path) -> pd.DataFrame:
    """A CSV file's rows as text. A longer row than the header is the parser's error, by its line:
    with a header of its own, pandas would take the first field for an index."""
    import pandas as pd

    rows = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, skipinitialspace=True)
    header = rows.iloc[0].fillna("").str.strip()
    named = header != ""  # a spreadsheet may write empty columns
    return rows.iloc[1:].loc[:, named].set_axis(header[named].to_list(), axis=1)


def _of_run(folder: Path, truth: Truth) -> tuple[Floats, NDArray[np.int64] | None]:
    """The probabilities of all rows by a run's posterior, and the rows that it can choose."""
    if truth.name not in _OF_RUNS:
        raise _no_distribution(f"{folder} is a folder", truth)
    if not (folder / layout.POSTERIOR).is_file():
        runs = sorted(path.parent for path in folder.glob(f"*/{layout.POSTERIOR}"))
        names = sorted(path.name for path in folder.iterdir())
        holds = f"of runs, such as {runs[0]}" if runs else f"of {', '.join(names[:3]) or 'nothing'}"
        raise _no_distribution(f"{folder} is a folder {holds}", truth)
    return _OF_RUNS[truth.name](folder)


def _of_cells(folder: Path) -> tuple[Floats, NDArray[np.int64]]:
    space, chosen = load_probabilities(folder)
    rows = space.benchmark_ids()
    q = np.zeros(len(CellSpace()))
    q[rows] = chosen
    return q, rows


_OF_RUNS: dict[str, Callable[[Path], tuple[Floats, NDArray[np.int64] | None]]] = {
    "nasbench201": _of_cells,
    "natsbench-size": lambda folder: (load_size_probabilities(folder), None),
    "nasbench-macro": lambda folder: (load_macro_probabilities(folder), None),
}
"""Truths that there are supernets of, and how a run's posterior is read."""


def of_table(table: pd.DataFrame, truth: Truth, source: str = "the table") -> Floats:
    """The distribution in a table with the columns above, shape (n,).

    Args:
        source: what errors call it.

    Raises:
        PdnasError: as :func:`read`.
    """
    columns = [str(column).strip() for column in table]
    table = table.set_axis(columns, axis=1)
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise PdnasError(f"{source}: the header has {twice[0]} twice; each column needs a name")
    if not len(table):
        raise PdnasError(f"{source} has no rows")
    table = table.rename(columns={"position": "switch"} if "switch" not in columns else {})
    if {"name", "probability"} <= set(table):
        rows = _rows(table["name"], truth, source)
        return _of_rows(rows, _probabilities(table["probability"], source), truth, source)
    if {"switch", "option", "probability"} <= set(table):
        return _of_marginals(table, truth, source)
    if {*table} == {"name"}:
        return of_samples(table["name"], truth, source)
    found = ", ".join(columns)
    raise PdnasError(f"{source} has the columns {found}; it needs {_FORMS}")


def of_samples(names: Iterable[Any], truth: Truth, source: str = "the list") -> Floats:
    """Each architecture's share of a list of sampled names, shape (n,).

    Raises:
        PdnasError: a name is unknown, or there is none.
    """
    rows = _rows(names, truth, source)
    if not rows.size:
        raise PdnasError(f"{source} names no architecture")
    shares: Floats = np.bincount(rows, minlength=len(truth)) / rows.size
    return shares


def of_anything(given: Any, truth: Truth) -> Floats:
    """A distribution as Python users have it, shape (n,).

    Args:
        given: a file's path; a run or its folder; a data frame; probabilities by name, also as a
            series; names of samples; or the probabilities of all rows, shape (n,).

    Raises:
        PdnasError: it is none of these, or no distribution over the truth's architectures.
    """
    import pandas as pd

    if isinstance(given, Run | str | Path):
        return Sampler.of(given, truth).q
    if isinstance(given, pd.DataFrame):
        return of_table(given, truth)
    if isinstance(given, Mapping):
        table = pd.DataFrame({"name": list(given), "probability": list(given.values())})
        return of_table(table, truth, "the mapping")
    if isinstance(given, pd.Series) and is_names(given.index) and not is_names(given):
        table = pd.DataFrame({"name": given.index, "probability": given.to_numpy()})
        return of_table(table, truth, "the series")
    if isinstance(given, Iterable) and not hasattr(given, "__array__"):
        given = list(given)
    return of_samples(given, truth) if is_names(given) else of_array(given, truth)


def is_names(given: Any) -> bool:
    """Whether these are one or more names, in a list, an array or the like."""
    several = isinstance(given, Collection) and not isinstance(given, str)
    if not several or getattr(given, "ndim", 1) != 1:
        return False
    return len(given) > 0 and all(isinstance(each, str) for each in given)


def of_array(given: ArrayLike, truth: Truth) -> Floats:
    """Probabilities of all rows, in their order, shape (n,).

    Raises:
        PdnasError: as :func:`of_anything`.
    """
    import pandas as pd

    if isinstance(given, pd.Series) and not given.index.equals(pd.RangeIndex(len(given))):
        raise PdnasError(
            "the index of the series is neither names nor 0, 1, 2 and so on in this order; give it "
            "the architectures' names"
        )
    try:
        if np.shape(given) != (len(truth),):
            raise ValueError
        probabilities, _ = normalised(given, np.zeros(len(truth)))
    except (TypeError, ValueError) as error:
        raise PdnasError(
            f"give the probabilities of all {len(truth)} architectures of {truth.name}, names of "
            "samples, probabilities by name, or a table"
        ) from error
    return probabilities


def product(marginals: Mapping[str, ArrayLike], truth: Truth) -> Floats:
    """The distribution of independent switches, shape (n,).

    Args:
        marginals: by switch, the probability of each of its options, in their order.
    """
    q = np.ones(len(truth))
    for column, switch in enumerate(truth.switches):
        q *= np.asarray(marginals[switch], dtype=np.float64)[truth.codes[:, column]]
    return q


def _of_marginals(table: pd.DataFrame, truth: Truth, source: str) -> Floats:
    probabilities = _probabilities(table["probability"], source)
    marginals = {name: np.full(len(known), np.nan) for name, known in truth.switches.items()}
    rows = zip(map(_text, table["switch"]), map(_text, table["option"]), strict=True)
    for (switch, option), probability in zip(rows, probabilities, strict=True):
        if switch not in marginals:
            known = ", ".join(marginals)
            raise PdnasError(f"{source}: {truth.name} has no switch {switch!r}; it has {known}")
        options = truth.switches[switch]
        if option not in options:
            known = ", ".join(options)
            raise PdnasError(f"{source}: switch {switch} has no option {option!r}; it has {known}")
        place = options.index(option)
        if not np.isnan(marginals[switch][place]):
            raise PdnasError(f"{source} names option {option} of switch {switch} twice")
        marginals[switch][place] = probability
    for switch, values in marginals.items():
        if np.isnan(values).all():
            raise PdnasError(f"{source} lacks the switch {switch}")
        whole = np.nan_to_num(values)
        marginals[switch] = whole / _sum(whole, f"{source}: probabilities of switch {switch}")
    return product(marginals, truth)


def _of_rows(rows: NDArray[np.int64], probabilities: Floats, truth: Truth, source: str) -> Floats:
    unique, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        name = truth.names[int(unique[counts > 1][0])]
        raise PdnasError(f"{source} names {name} twice; give each architecture one probability")
    q = np.zeros(len(truth))
    q[rows] = probabilities
    return q / _sum(q, f"{source}: probabilities")


def _sum(probabilities: Floats, what: str) -> float:
    total = float(probabilities.sum())
    if abs(total - 1) > TOLERANCE:
        raise PdnasError(f"{what} sum to {total:.6g}, not to 1")
    return total


def _rows(names: Iterable[Any], truth: Truth, source: str) -> NDArray[np.int64]:
    rows = []
    for number, given in enumerate(names, 1):
        name = _text(given)
        if not name:
            raise PdnasError(f"{source}: row {number} has no name")
        try:
            row = truth.rows.get(name)
            rows.append(truth.find(name) if row is None else row)
        except PdnasError as error:
            raise PdnasError(f"{source}, row {number}: {error}") from error
    return np.array(rows, dtype=np.int64)


def _probabilities(column: pd.Series[Any], source: str) -> Floats:
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~((values >= 0) & (values <= 1 + TOLERANCE)))  # NaN is wrong as well
    if wrong.size:
        said = _text(column.iloc[int(wrong[0])]) or "nothing"
        raise PdnasError(f"{source}: row {wrong[0] + 1} has the probability {said}, not 0 to 1")
    return values


def _text(value: Any) -> str:
    """What a cell of a table says; nothing for one that is missing."""
    return "" if value is None or value != value else str(value).strip()
