"""Every table and figure: its name, the studies it is made from, and what it reads of the scale.

Snakemake takes its targets from here, before anything has been run; what makes each table and
figure stands under the same name in :mod:`pdnas.report.catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pdnas.spec import selection
from pdnas.spec.names import Target
from pdnas.spec.scale import Scale, Study

Kind = Literal["table", "figure"]

Selector = Callable[[Scale], Collection[str]]
"""Chooses studies of a scale, as the functions of :mod:`pdnas.spec.selection` do."""


@dataclass(frozen=True)
class Product:
    """A table or figure.

    Attributes:
        studies: those whose runs it is made from.
        target: the Snakemake target that makes it, with the runs of these studies.
        networks: whether it reads of chosen candidates as networks of their own.
    """

    kind: Kind
    name: str
    studies: Selector
    target: Target = "all"
    networks: bool = False

    @property
    def rule(self) -> str:
        """Its own Snakemake target: ``table3``, ``figure1``, ``figure_best_of_n``."""
        if self.name.startswith(self.kind):
            return self.name
        return f"{self.kind}_{self.name.replace('-', '_')}"

    @property
    def of_no_study(self) -> bool:
        """Whether it is made from no run of any scale."""
        return self.studies is _no_study

    @property
    def of_cells(self) -> bool:
        """Whether it is about cells of NAS-Bench-201 alone."""
        return self.studies in (selection.over_cells, selection.over_cells_in_all)

    def reads(self, scale: Scale) -> str:
        """What it reads of a scale, as text: when this changes, it is made again.

        That is the description and its studies; not how jobs run, nor other studies.
        """
        kept = set(Study.model_fields) - {"finetune", "extract"}  # which only say what to run
        studies = dict.fromkeys(self.studies(scale), kept)
        return scale.model_dump_json(include={"description": True, "studies": studies})


def _named(*products: Product) -> dict[str, Product]:
    return {product.name: product for product in products}


def _no_study(_: Scale) -> tuple[str, ...]:
    return ()


TABLES = _named(
    Product("table", "table1", partial(selection.stand_ins, data=("cifar10",))),
    Product("table", "table2", partial(selection.stand_ins, data=("cifar100",))),
    *(Product("table", f"table{number}", selection.on_cifar10) for number in range(3, 8)),
    Product("table", "table8", partial(selection.stand_ins, supernet="D-121")),
    Product("table", "table9", partial(selection.stand_ins, supernet="R-50")),
    Product("table", "ablations", selection.ablated),
    Product("table", "extraction", selection.over_channels, networks=True),
    Product("table", "efficiency", selection.over_cells_in_all),
    Product("table", "nasbench", selection.over_cells, target="nasbench"),
    Product("table", "rivals", _no_study, target="nasbench"),  # searches of a table are no runs
    Product("table", "truths", selection.over_sizes, target="truths"),
    Product("table", "macro", selection.over_macro, target="truths"),
)
"""Every table by its name, in the order in which people read them."""

FIGURES = _named(
    Product("figure", "figure1", selection.guided_and_random),
    Product("figure", "figure2", selection.guided_over_channels),
    Product("figure", "mismatch", selection.fine_tuned),
    Product("figure", "pareto", selection.drawn),
    Product("figure", "candidates", selection.drawn),
    Product("figure", "error-cost", selection.guided_over_channels),
    Product("figure", "trajectories", selection.drawn),
    Product("figure", "kept-share", selection.drawn),
    Product("figure", "posterior-cells", selection.over_cells_in_all),
    Product("figure", "efficiency", selection.over_cells_in_all),
    Product("figure", "best-of-n", selection.over_cells_in_all),
    *(
        Product("figure", name, selection.over_cells, target="nasbench")
        for name in (
            "samples-to-target",
            "best-so-far",
            "one-shot",
            "posterior-training",
            "posterior-mass",
            "cost",
        )
    ),
    Product("figure", "size-widths", selection.over_sizes, target="truths"),
    Product("figure", "size-samples", selection.over_sizes, target="truths"),
    Product("figure", "macro-samples", selection.over_macro, target="truths"),
    Product("figure", "macro-blocks", selection.over_macro, target="truths"),
    Product("figure", "truth-noise", _no_study, target="truths"),
)
"""Every figure by its name, in the order in which people read them."""

OFFICIAL_FIGURES = tuple(
    f"official-{name}" for name in ("architecture", "trajectories", "dropped", "candidates")
)
"""What ``pdnas official`` draws from the released logs of SupNet-D-121's search."""
