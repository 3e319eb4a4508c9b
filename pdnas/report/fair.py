"""Whether what a study holds against its guided candidates had the same size and the same training.

A scale file decides that. The package's own see to it, and another's tables are not to say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pdnas.report.collect import Collection

_PAPER = "paper"
"""The scale whose random baseline has the paper's own rate."""


def equal_size(collection: Collection, study: str) -> bool:
    """Whether the random baseline's rate is solved for, or the paper's own."""
    roles = collection.roles[study]
    if roles.random is None or collection.name == _PAPER:
        return True
    return collection.scale.spec(study, roles.random).gates.match == roles.guided


def equal_epochs(collection: Collection, study: str) -> bool:
    """Whether the full model is trained for as many epochs as the guided one's supernet."""
    roles = collection.roles[study]
    if roles.guided is None or roles.full is None:
        return True
    guided, full = (collection.scale.spec(study, each) for each in (roles.guided, roles.full))
    return guided.training.epochs == full.training.epochs


def exceptions(collection: Collection, studies: Iterable[str]) -> Iterator[str]:
    """What is not alike in which study, for a note each."""
    for study in studies:
        if not equal_size(collection, study):
            yield (
                f"Study {study}: the random baseline has a drop rate of its own, so its candidates "
                "may be of another size than the guided ones."
            )
        if not equal_epochs(collection, study):
            yield f"Study {study}: the full model is not trained for as many epochs."
