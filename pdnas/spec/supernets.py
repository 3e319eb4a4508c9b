"""Configuration of supernets: one model a family, told apart by its ``name``.

``WIDTH`` names what says how wide such a supernet is. What builds it stands in a module of
:mod:`pdnas.nn.supernets`, since this one is read without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pdnas.space.cells import OPERATIONS, CellSpace
from pdnas.space.macro import MacroSpace
from pdnas.space.sizes import LARGEST
from pdnas.spec.base import Depth, Strict, Width
from pdnas.spec.names import BranchMerge, SharedKernels


class MultiBranchConfig(Strict):
    """The 3-branch ResNet: SupNet-M has width 96, SupNet-MI 160, both 4 blocks a stage."""

    WIDTH: ClassVar = "width"
    name: Literal["multibranch"]
    width: Annotated[Width, Field(ge=2)]
    """Channels of the first stage; doubled by each further stage."""
    blocks: Depth = 4
    """Residual blocks a stage."""
    merge: BranchMerge = "sum"
    """Of a block's residual paths; shake-shake: random weights in training."""


class EnasConfig(Strict):
    """The network of ENAS's best cell: SupNet-E has 36 filters, SupNet-EI 72, both 15 layers."""

    WIDTH: ClassVar = "filters"
    name: Literal["enas"]
    filters: Width
    """Channels inside the first cells; doubled by each reduction cell."""
    layers: Depth = 15
    """Normal cells; reduction cells come on top."""


class ResNetConfig(Strict):
    """Multi-kernel ResNet: the defaults are SupNet-R-50, and with kernels [3] plain ResNet-50."""

    WIDTH: ClassVar = "width"
    name: Literal["resnet"]
    width: Width = 64
    """Channels of the stem, and inside the first stage's blocks; doubled by each further stage."""
    blocks: Annotated[tuple[Depth, ...], Field(min_length=1)] = (3, 4, 6, 3)
    """Bottleneck blocks of each stage."""
    kernels: Annotated[tuple[Literal[1, 3, 5, 9], ...], Field(min_length=1)] = (1, 3, 5, 9)
    """Extents of a block's parallel kernels in pixels, all different."""

    @model_validator(mode="after")
    def _different_kernels(self) -> Self:
        if len(set(self.kernels)) < len(self.kernels):
            raise ValueError("kernels must be different ones of 1, 3, 5 and 9")
        return self


class DenseNetConfig(Strict):
    """DenseNet: the defaults are SupNet-D-121; 169 and 201 have other numbers of layers."""

    WIDTH: ClassVar = "growth"
    name: Literal["densenet"]
    layers: Annotated[tuple[Depth, ...], Field(min_length=1)] = (6, 12, 24, 16)
    """Layers of each dense block."""
    growth: Width = 32
    """Channels that each layer adds."""

    @property
    def smallest_image(self) -> int:
        """Pixels a side below which nothing is left of an image in the last block."""
        return 2 ** (len(self.layers) + 1) - 3  # the stem divides by 4, transitions by 2


class NasBench201Config(Strict):
    """NAS-Bench-201's skeleton; the defaults are the benchmark's."""

    WIDTH: ClassVar = "channels"
    name: Literal["nasbench201"]
    channels: Width = 16
    """Channels of the first stage; each further stage has twice as many."""
    cells: Depth = 5
    """Cells a stage."""
    stages: Annotated[int, Field(ge=1, le=3)] = 3
    """Stages of cells."""
    operations: tuple[str, ...] = OPERATIONS
    """Operations among which every edge chooses: two or more different ones of these."""
    kernels: SharedKernels = "identity"
    """How the kernels of the operations begin; fading ones have lost their identity as the warm-up
    ends."""

    def misfit(self, side: int) -> str | None:
        """What is wrong with images of ``side`` pixels: each stage but the first halves them."""
        multiple = 2 ** (self.stages - 1)
        if side % multiple == 0:
            return None
        return (
            f"halves images of {side} pixels {self.stages - 1} times with a rest; use a multiple "
            f"of {multiple} pixels a side"
        )

    @property
    def space(self) -> CellSpace:
        """The cells that are searched."""
        return CellSpace(self.operations)

    @property
    def cells_per_stage(self) -> int:
        """``cells`` by a name that cannot be taken for architectures."""
        return self.cells

    @model_validator(mode="after")
    def _known_operations(self) -> Self:
        unknown = set(self.operations) - set(OPERATIONS)
        if unknown or len(set(self.operations)) < len(self.operations) or len(self.operations) < 2:
            raise ValueError(f"operations must be two or more different ones of {OPERATIONS}")
        return self


class NatsBenchSizeConfig(Strict):
    """The skeleton of NATS-Bench's size space, whose five widths are searched."""

    WIDTH: ClassVar = "width"
    name: Literal["natsbench-size"]
    width: Annotated[Width, Field(le=LARGEST)] = LARGEST
    """Channels of every width; a share of 64, such as 16, stands for the network of 64."""

    def misfit(self, side: int) -> str | None:
        """What is wrong with images of ``side`` pixels: two blocks halve them."""
        if side % 4 == 0:
            return None
        return f"halves images of {side} pixels twice; use a multiple of 4 pixels a side"

    @model_validator(mode="after")
    def _divides_the_largest(self) -> Self:
        if LARGEST % self.width:
            raise ValueError(f"width must divide {LARGEST}")
        return self


class NasBenchMacroConfig(Strict):
    """NAS-Bench-Macro's skeleton; the default is the benchmark's."""

    WIDTH: ClassVar = "channels"
    name: Literal["nasbench-macro"]
    channels: Width = 32
    """Channels of the stem; stages have 2, 4 and 8 times as many, the last convolution 40 times."""

    @property
    def space(self) -> MacroSpace:
        """The networks that are searched."""
        return MacroSpace()


SupernetConfig = Annotated[
    MultiBranchConfig
    | EnasConfig
    | ResNetConfig
    | DenseNetConfig
    | NasBench201Config
    | NatsBenchSizeConfig
    | NasBenchMacroConfig,
    Field(discriminator="name"),
]

NAMED: Mapping[str, SupernetConfig] = {
    "supernet-m": MultiBranchConfig(name="multibranch", width=96),
    "supernet-mi": MultiBranchConfig(name="multibranch", width=160),
    "supernet-e": EnasConfig(name="enas", filters=36),
    "supernet-ei": EnasConfig(name="enas", filters=72),
    "supernet-r50": ResNetConfig(name="resnet"),
    "supernet-d121": DenseNetConfig(name="densenet", layers=(6, 12, 24, 16)),
    "supernet-d169": DenseNetConfig(name="densenet", layers=(6, 12, 32, 32)),
    "supernet-d201": DenseNetConfig(name="densenet", layers=(6, 12, 48, 32)),
    "nasbench201": NasBench201Config(name="nasbench201"),
    "natsbench-size": NatsBenchSizeConfig(name="natsbench-size"),
    "nasbench-macro": NasBenchMacroConfig(name="nasbench-macro"),
}
"""The supernets of the paper at full size, and the benchmarks' own networks."""
