"""From a candidate's masks to a physically smaller network that computes the same.

A masked supernet does all of its arithmetic and multiplies much of it by zero. :func:`extract`
traces it (``torch.fx``), walks the graph twice and writes a new one of standard layers:

* backward, which channels of each tensor anybody needs: a convolution needs the input channels its
  mask keeps, a sum needs of every addend what is needed of itself;
* forward, the small network. A tensor of the masked network is, channel by channel, something
  computed plus a constant (:class:`Value`); a channel that nothing kept reaches is a constant
  alone, such as BatchNorm's answer to zeros. Constants are not computed but handed on, until a
  BatchNorm, a bias or an addition takes them in.

A constant that enters a convolution with zero padding is no constant behind it, since the border
differs. All such channels of a convolution become one: a channel of ones, whose kernel slice is the
sum of theirs, each times its constant.

One rule for each kind of operation (:data:`_RULES`) serves all supernets. Nothing is approximated:
outputs differ from the masked supernet's by rounding only, and there are never more parameters
than :meth:`pdnas.nn.supernets.Supernet.candidate_parameters` says, unless widths are asked to be
multiples.
"""

from __future__ import annotations

import inspect
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.flop_counter import FlopCounterMode

from pdnas.nn.gates import GatedConv2d
from pdnas.nn.layout import memory_format
from pdnas.nn.supernets import ChannelSupernet, Supernet
from pdnas.nn.supernets.cells.operations import AveragePool
from pdnas.nn.supernets.layers import StochasticDepth
from pdnas.space.candidates import Choice
from pdnas.support.errors import PdnasError


def extract(supernet: Supernet, choice: Choice, image: Tensor, multiple: int = 1) -> fx.GraphModule:
    """The candidate ``choice`` of ``supernet`` as a network of its own, in evaluation mode.

    Args:
        supernet: with the weights to inherit; it is left as it was.
        choice: one architecture, such as one of :class:`pdnas.space.candidates.Candidates`.
        image: any image, shape (1, channels, height, width), on the supernet's device and of its
            type; only the shape matters. Where the network computes with constants that no image
            reaches (see the module's text), it works for images of this size alone.
        multiple: of which a tensor's channels shall be a multiple, as far as the supernet has so
            many. Dropped channels fill up the rest, with kernel slices of zeros: a larger network
            that vector units may compute in less time.

    Returns:
        a module of nn.Conv2d, nn.BatchNorm2d, nn.Linear and constants, all with weights of their
        own and named like the supernet's (dots become underscores). What it computes, line by
        line, is its attribute ``code``.

    Raises:
        PdnasError: the choice does not fit (the gate is named), or the supernet contains an
            operation that no rule knows (the operation is named).
    """
    training = supernet.training
    supernet.eval()
    try:
        with supernet.candidate(choice):
            # By layer, since several may read one gate; a cell's layers have no masks.
            masks: Choice = {}
            if isinstance(supernet, ChannelSupernet):
                masks = supernet.layer_masks(choice)
            return _shrunk(_trace(supernet, image), masks, multiple, image)
    finally:
        supernet.train(training)


class Extractor:
    """Extracts candidates of one supernet to be judged: fast networks, and one trace for all.

    Args:
        supernet: in evaluation mode.
        image: as :func:`extract` takes it.
        multiple: likewise.

    Raises:
        PdnasError: as of :func:`extract`; torch.fx raises others where it cannot follow a network.
    """

    def __init__(self, supernet: ChannelSupernet, image: Tensor, multiple: int) -> None:
        self._supernet, self._image, self._multiple = supernet, image, multiple
        self._traced = _trace(supernet, image)
        gates = supernet.gates().items()
        self({name: torch.ones(gate.channels, dtype=torch.bool) for name, gate in gates})

    def __call__(self, choice: Choice) -> fx.GraphModule:
        """What :func:`extract` gives, with BatchNorms as parts of the convolutions before them."""
        masks = self._supernet.layer_masks(choice)
        small = _shrunk(self._traced, masks, self._multiple, self._image)
        _fold(small)
        layout = memory_format(self._supernet, self._image.device)
        return small.to(memory_format=layout)  # type: ignore[call-overload]


@torch.no_grad()
def _fold(network: fx.GraphModule) -> None:
    """Make BatchNorms parts of the convolutions before them, several if these are concatenated."""
    layers = dict(network.named_children())
    for node in network.graph.nodes:
        norm = layers.get(str(node.target))
        if not isinstance(norm, nn.BatchNorm2d) or not norm.affine:
            continue
        source = _source(node)
        parts = cast(list[fx.Node], source.args[0]) if source.target is torch.cat else [source]
        before = [layers.get(str(part.target)) for part in parts]
        convolutions = [each for each in before if isinstance(each, nn.Conv2d)]
        only = all(len(each.users) == 1 for each in (source, *parts))
        if not only or len(convolutions) < len(parts):
            continue
        of_norm = cast(list[Tensor], [norm.running_mean, norm.running_var, norm.weight, norm.bias])
        widths = [each.out_channels for each in convolutions]
        pieces = zip(*(each.split(widths) for each in of_norm), strict=True)
        for each, (mean, variance, weight, bias) in zip(convolutions, pieces, strict=True):
            each.weight, each.bias = fuse_conv_bn_weights(
                each.weight, each.bias, mean, variance, norm.eps, weight, bias
            )
        node.replace_all_uses_with(source)
        network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()


def multiply_adds(network: nn.Module, image: Tensor) -> int:
    """Multiply-adds of convolutions and linear layers for ``image``, half of torch's FLOPs.

    Pooling counts nothing, as in NAS-Bench-201, also where it is computed as a convolution; nor do
    biases, of which the benchmark counts that of the linear layer.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    root, counts = type(network).__name__, counter.get_flop_counts()
    pooling = sum(
        sum(counts.get(f"{root}.{name}", {}).values())
        for name, module in network.named_modules()
        if isinstance(module, AveragePool)
    )
    return (counter.get_total_flops() - pooling) // 2


def parameters(network: nn.Module) -> int:
    """Parameters of an extracted network; its constants, indices and statistics do not count."""
    return sum(parameter.numel() for parameter in network.parameters())


def source_code(network: fx.GraphModule) -> str:
    """An extracted network as Python source that needs nothing but torch.

    It defines ``class Subnet(torch.nn.Module)`` in float32, whose state dict is that of
    ``network``.
    """
    lines = ["import torch", "from torch import Tensor, nn", "", ""]
    code = network.code.strip()
    selecting = f"{__name__}.{select_channels.__name__}".replace(".", "_")  # as torch.fx calls it
    if selecting in code:
        source = inspect.getsource(select_channels).replace(select_channels.__name__, selecting)
        lines += [*source.splitlines(), "", ""]
    lines += ["class Subnet(nn.Module):"]
    lines += ["    def __init__(self):", "        super().__init__()"]
    lines += [f"        self.{name} = nn.{layer!r}" for name, layer in network.named_children()]
    lines += [
        f'        self.register_buffer("{name}", torch.empty({tuple(buffer.shape)}, '
        f"dtype={torch.int64 if buffer.dtype == torch.int64 else torch.float32}))"
        for name, buffer in network.named_buffers(recurse=False)
    ]
    method = (f"    {line}".rstrip() for line in code.splitlines())
    return "\n".join([*lines, "", *method]) + "\n"


def select_channels(x: Tensor, index: Tensor) -> Tensor:
    """Some channels of ``x``, (images, channels, ...), in its own memory format.

    Torch's own selection gives channels first, also where they were last, and takes four times as
    long there as that from rows of channels.
    """
    if x.dim() != 4 or x.stride(1) != 1:
        return x.index_select(1, index)
    last = x.permute(0, 2, 3, 1)
    selected = last.flatten(0, 2).index_select(1, index)
    return selected.unflatten(0, last.shape[:3]).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Value:
    """What a tensor of the masked network is in the small one: computed plus ``offset``.

    Attributes:
        node: the tensor of the small network; None where no channel is computed.
        channels: which of the original channels it holds, int64, ascending.
        offset: a constant for each original channel, in float64; of a channel that is not held it
            is the whole value. Only needed channels' entries mean anything.
    """

    node: fx.Node | None
    channels: Tensor
    offset: Tensor

    @classmethod
    def constant(cls, offset: Tensor) -> Value:
        return cls(None, torch.empty(0, dtype=torch.int64), offset)

    def not_zero(self) -> Tensor:
        """Which of the original channels are not known to be zero."""
        mask = self.offset != 0
        mask[self.channels] = True
        return mask

    def held(self, wanted: Tensor) -> Tensor:
        """The channels it holds among ``wanted``, a Boolean mask over the original ones."""
        return self.channels[wanted[self.channels]]


@torch.no_grad()
def _trace(supernet: Supernet, image: Tensor) -> fx.GraphModule:
    """The graph of a supernet in evaluation mode, with the shape of every tensor.

    It is that of all candidates, but for cells, which differ in it. Layers that each begin with a
    ReLU of one tensor get it from one.
    """
    graph = _Tracer().trace(supernet)
    rectified: dict[fx.Node, fx.Node] = {}
    for node in graph.find_nodes(op="call_function", target=torch.relu):
        if (first := rectified.setdefault(_source(node), node)) is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)
    traced = fx.GraphModule(supernet, graph)
    ShapeProp(traced).propagate(image)
    return traced


@torch.no_grad()
def _shrunk(traced: fx.GraphModule, masks: Choice, multiple: int, like: Tensor) -> fx.GraphModule:
    """The small network, on the device of ``like`` and of its type."""
    return _Extraction(traced, masks, multiple).run().to(like.device, like.dtype).eval()


class _Tracer(fx.Tracer):
    """Looks into every module but those that a rule knows."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _MODULES) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if isinstance(m, GatedConv2d) and m.relu:  # the gate's own ReLU, before its mask
            args = (torch.relu(args[0]),)
        return super().call_module(m, forward, args, kwargs)


class _Extraction:
    """The two walks over a traced supernet, and what the rules share."""

    def __init__(self, traced: fx.GraphModule, masks: Choice, multiple: int) -> None:
        self.traced = traced
        self.masks = masks
        self.multiple = multiple
        self.needed: dict[fx.Node, Tensor] = {}
        self.values: dict[fx.Node, Value] = {}
        self.graph = fx.Graph()
        self.layers: dict[str, nn.Module | Tensor] = {}
        self.selections: dict[tuple[fx.Node, tuple[int, ...]], fx.Node] = {}
        self.image: fx.Node

    def run(self) -> fx.GraphModule:
        nodes = list(self.traced.graph.nodes)
        (logits,) = nodes[-1].all_input_nodes
        self.need(logits, torch.ones(self.shape(logits)[1], dtype=torch.bool))
        for node in reversed(nodes):
            if node.op not in ("placeholder", "output") and self.is_needed(node):
                self.needed[node] = self.filled_up(self.needed[node])
                self.rule(node).needs(self, node, self.needed[node])
        for node in nodes:
            if node.op == "placeholder":
                self.image = self.graph.placeholder(node.target)
                channels = torch.arange(self.shape(node)[1])
                self.values[node] = Value(self.image, channels, _zeros(len(channels)))
            elif node.op != "output" and self.is_needed(node):
                self.values[node] = self.rule(node).build(self, node, self.needed[node])
        self.graph.output(self.whole(logits, torch.arange(self.shape(logits)[1])))
        self.graph.lint()
        return fx.GraphModule(self.layers, self.graph, class_name="Subnet")

    # What rules ask about the masked network

    def rule(self, node: fx.Node) -> Rule:
        found: Rule | None = None
        if node.op == "call_module":
            module = self.module(node)
            found = next((_RULES[kind] for kind in _MODULES if isinstance(module, kind)), None)
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                depthwise = module.groups == module.in_channels == module.out_channels
                found = _Depthwise() if depthwise else None
        elif node.args:
            found = _RULES.get(node.target)
        if found is None or "tensor_meta" not in node.meta:
            raise self.unknown(node)
        return found

    def unknown(self, node: fx.Node) -> PdnasError:
        what = node.format_node() or node.name
        return PdnasError(f"extraction has no rule for {what}; add one to pdnas/nn/subnet.py")

    def module(self, node: fx.Node) -> nn.Module:
        return self.traced.get_submodule(str(node.target))

    def keep(self, node: fx.Node, channels: int) -> Tensor:
        """The mask of a layer's input channels; all ones if it has no gate."""
        mask = self.masks.get(str(node.target))
        return torch.ones(channels, dtype=torch.bool) if mask is None else mask.cpu()

    def filled_up(self, channels: Tensor) -> Tensor:
        """Some channels, unless there are none, and of the others as many as the multiple takes."""
        missing = -int(channels.sum()) % self.multiple if bool(channels.any()) else 0
        filled = channels.clone()
        filled[_places(~channels)[:missing]] = True
        return filled

    def shape(self, node: fx.Node) -> torch.Size:
        return cast(torch.Size, node.meta["tensor_meta"].shape)

    def need(self, node: fx.Node, channels: Tensor) -> None:
        self.needed[node] = self.needed.get(node, torch.zeros_like(channels)) | channels

    def is_needed(self, node: fx.Node) -> bool:
        return node in self.needed and bool(self.needed[node].any())

    def value(self, node: fx.Node) -> Value:
        """The value of an input; nobody needs one that was not built."""
        return self.values.get(node, Value.constant(_zeros(self.shape(node)[1])))

    # What rules write into the small network

    def add_layer(self, node: fx.Node, layer: nn.Module, source: fx.Node) -> fx.Node:
        name = str(node.target).replace(".", "_")
        if name in self.layers:
            raise PdnasError(
                f"extraction cannot shrink {node.target}, which is used twice; give each use a "
                "layer of its own"
            )
        self.layers[name] = layer
        return self.graph.call_module(name, (source,))

    def add_weighted(
        self,
        node: fx.Node,
        kernel: Tensor,
        source: fx.Node | None,
        channels: Tensor,
        offset: Tensor,
    ) -> Value:
        """A convolution or linear layer with another kernel; its bias takes ``offset`` in."""
        if source is None:
            return Value.constant(offset)
        layer = self.module(node)
        bias = layer.bias is not None
        with torch.device("meta"):  # no random weights, which would advance the generator
            if isinstance(layer, nn.Linear):
                small: nn.Linear | nn.Conv2d = nn.Linear(kernel.shape[1], len(channels), bias)
            else:
                assert isinstance(layer, nn.Conv2d)
                groups = 1 if layer.groups == 1 else len(channels)
                small = nn.Conv2d(
                    kernel.shape[1] * groups,
                    len(channels),
                    cast(tuple[int, int], layer.kernel_size),
                    cast(tuple[int, int], layer.stride),
                    cast(tuple[int, int], layer.padding),
                    cast(tuple[int, int], layer.dilation),
                    groups,
                    bias,
                    layer.padding_mode,
                )
        small.weight = nn.Parameter(kernel)
        if bias:
            small.bias = nn.Parameter(offset[channels])
            offset[channels] = 0
        return Value(self.add_layer(node, small, source), channels, offset)

    def constant(self, kind: str, tensor: Tensor) -> fx.Node:
        name = f"{kind}{sum(isinstance(layer, Tensor) for layer in self.layers.values())}"
        self.layers[name] = tensor
        return self.graph.get_attr(name)

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> fx.Node:
        return self.graph.call_function(function, arguments, options)

    def ones(self, like: fx.Node) -> fx.Node:
        """One channel of ones, as large as a tensor of the masked network."""
        images = self.graph.call_method("size", (self.image, 0))
        shape = (images, 1, *self.shape(like)[2:])
        return self.graph.call_method("new_ones", (self.image, shape))

    def append(self, node: fx.Node, dimensions: int, number: float) -> fx.Node:
        """One more channel that is ``number`` everywhere."""
        return self.call(F.pad, node, (0, 0) * (dimensions - 2) + (0, 1), value=number)

    def select(self, value: Value, channels: Tensor) -> fx.Node | None:
        """Exactly ``channels`` of a value, all of which it holds; None if there are none."""
        if value.node is None or not len(channels):
            return None
        if len(channels) == len(value.channels):
            return value.node
        places = torch.searchsorted(value.channels, channels)
        key = value.node, tuple(places.tolist())
        if key not in self.selections:
            index = self.constant("index", places)
            self.selections[key] = self.call(select_channels, value.node, index)
        return self.selections[key]

    def map_held(
        self,
        value: Value,
        needed: Tensor,
        function: Callable[..., Any],
        *arguments: Any,
        **options: Any,
    ) -> tuple[fx.Node | None, Tensor]:
        """``function`` of the needed channels that a value holds, and which they are."""
        channels = value.held(needed)
        inputs = self.select(value, channels)
        output = None if inputs is None else self.call(function, inputs, *arguments, **options)
        return output, channels

    def widen(self, value: Value, channels: Tensor, dimensions: int) -> fx.Node:
        """Exactly ``channels`` of a value, some of which it holds, with zeros for the others."""
        is_held = torch.isin(channels, value.channels)
        node = self.select(value, channels[is_held])
        assert node is not None
        if is_held.all():
            return node
        places = torch.where(is_held, is_held.cumsum(0) - 1, is_held.sum())
        index = self.constant("index", places)
        return self.call(select_channels, self.append(node, dimensions, 0.0), index)

    def settled(self, node: fx.Node) -> Value:
        """An input's value with the offset of the channels that it holds added to them."""
        value = self.value(node)
        offset = value.offset[value.channels]
        if value.node is None or not offset.any():
            return value
        rest = value.offset.clone()
        rest[value.channels] = 0
        added = self.offset_by(value.node, offset, len(self.shape(node)))
        # Kept, so that other consumers need not add it again.
        self.values[node] = Value(added, value.channels, rest)
        return self.values[node]

    def offset_by(self, node: fx.Node, offset: Tensor, dimensions: int) -> fx.Node:
        return self.call(operator.add, node, self.broadcast(offset, dimensions))

    def broadcast(self, offset: Tensor, dimensions: int) -> fx.Node:
        return self.constant("offset", offset.reshape(1, -1, *(1,) * (dimensions - 2)))

    def whole(self, node: fx.Node, channels: Tensor) -> fx.Node:
        """An input's ``channels``, constants and all, as one tensor."""
        value = self.settled(node)
        offset = value.offset[channels]
        dimensions = len(self.shape(node))
        if not torch.isin(channels, value.channels).any():
            return self.call(operator.mul, self.ones(node), self.broadcast(offset, dimensions))
        widened = self.widen(value, channels, dimensions)
        return self.offset_by(widened, offset, dimensions) if offset.any() else widened


class Rule(ABC):
    """How one kind of operation acts on channels; ``needed`` is of its output and never empty."""

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        """Tell ``x`` which channels of its inputs it takes to compute ``needed``."""
        x.need(_source(node), needed)

    @abstractmethod
    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        """Write the operation into the small network."""


class _Dense(Rule):
    """A convolution or linear layer in which every output takes every input, gated or not."""

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        source = _source(node)
        x.need(source, x.filled_up(x.keep(node, x.shape(source)[1])))

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        layer = cast("nn.Conv2d | nn.Linear", x.module(node))
        source = _source(node)
        keep = x.keep(node, x.shape(source)[1])
        padded = isinstance(layer, nn.Conv2d) and layer.padding != (0, 0)
        value = x.settled(source) if padded else x.value(source)
        held, outputs = value.held(x.filled_up(keep)), _places(needed)
        inputs = x.select(value, held)
        weight = _double(layer.weight)
        weight = weight * keep.reshape(1, -1, *(1,) * (weight.dim() - 2))
        kernel = weight[outputs][:, held]
        entering = torch.where(keep, value.offset, 0)
        offset = _bias(layer, len(needed))
        if not padded:
            offset += weight.reshape(*weight.shape[:2], -1).sum(dim=2) @ entering
        elif entering.any():
            inputs = x.ones(source) if inputs is None else x.append(inputs, 4, 1.0)
            ones = torch.einsum("oihw,i->ohw", weight[outputs], entering)
            kernel = torch.cat([kernel, ones[:, None]], dim=1)
        return x.add_weighted(node, kernel, inputs, outputs, offset)


class _Depthwise(Rule):
    """A convolution whose output channel k takes input channel k alone, gated or not."""

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        x.need(_source(node), x.keep(node, len(needed)) & needed)

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        layer = cast(nn.Conv2d, x.module(node))
        source = _source(node)
        value = x.value(source)
        wanted = x.keep(node, len(needed)) & needed
        weight = _double(layer.weight)
        offset = _bias(layer, len(needed))
        if layer.padding == (0, 0):
            channels = value.held(wanted)
            inputs = x.select(value, channels)
            offset += torch.where(wanted, value.offset * weight.sum(dim=(1, 2, 3)), 0)
        else:
            channels = _places(wanted & value.not_zero())
            inputs = x.whole(source, channels) if len(channels) else None
        return x.add_weighted(node, weight[channels], inputs, channels, offset)


class _Norm(Rule):
    """BatchNorm with running statistics."""

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        layer = cast(nn.BatchNorm2d, x.module(node))
        if layer.running_mean is None or layer.running_var is None:
            raise x.unknown(node)
        value = x.value(_source(node))
        channels = value.held(needed)
        inputs = x.select(value, channels)
        mean = _double(layer.running_mean) - value.offset
        variance = _double(layer.running_var)
        of_constants = F.batch_norm(
            torch.zeros(1, len(needed), dtype=torch.float64),
            mean,
            variance,
            None if layer.weight is None else _double(layer.weight),
            None if layer.bias is None else _double(layer.bias),
            eps=layer.eps,
        )[0]
        if inputs is None:
            return Value.constant(of_constants)
        small = nn.BatchNorm2d(len(channels), layer.eps, layer.momentum, layer.affine)
        small.running_mean, small.running_var = mean[channels], variance[channels]
        small.num_batches_tracked = layer.num_batches_tracked.clone()  # type: ignore[union-attr]
        if layer.affine:
            small.weight = nn.Parameter(_double(layer.weight)[channels])
            small.bias = nn.Parameter(_double(layer.bias)[channels])
        of_constants[channels] = 0
        return Value(x.add_layer(node, small, inputs), channels, of_constants)


class _Relu(Rule):
    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        value = x.settled(_source(node))
        output, channels = x.map_held(value, needed, torch.relu)
        return Value(output, channels, torch.relu(value.offset))


class _Sum(Rule):
    """The addition of tensors of one shape, and of numbers."""

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        if node.kwargs or any(x.shape(term) != x.shape(node) for term in node.all_input_nodes):
            raise x.unknown(node)
        for term in node.all_input_nodes:
            x.need(term, needed)

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        offset = _zeros(len(needed))
        values: list[Value] = []
        for term in node.args:
            if isinstance(term, fx.Node):
                values.append(x.value(term))
                offset = offset + values[-1].offset
            else:
                offset = offset + float(cast(float, term))
        channels = torch.cat([value.held(needed) for value in values]).unique()
        total: fx.Node | None = None
        for value in values:
            if len(value.held(needed)):
                addend = x.widen(value, channels, len(x.shape(node)))
                total = addend if total is None else x.call(operator.add, total, addend)
        return Value(total, channels, offset)


class _Scaling(Rule):
    """Multiplication by a number."""

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        if not isinstance(node.args[1], (int, float)):
            raise x.unknown(node)
        super().needs(x, node, needed)

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        value, factor = x.value(_source(node)), cast(float, node.args[1])
        output, channels = x.map_held(value, needed, operator.mul, factor)
        return Value(output, channels, value.offset * factor)


class _Concatenation(Rule):
    """``torch.cat`` along the channels."""

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        if (node.args[1:] or tuple(node.kwargs.values())) != (1,):
            raise x.unknown(node)
        parts = self._parts(node)
        widths = [x.shape(part)[1] for part in parts]
        for part, piece in zip(parts, needed.split(widths), strict=True):
            x.need(part, piece)

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        pieces: list[fx.Node] = []
        channels: list[Tensor] = []
        offsets: list[Tensor] = []
        start = 0
        for part in self._parts(node):
            value = x.value(part)
            held = value.held(needed[start:])
            piece = x.select(value, held)
            if piece is not None:
                pieces.append(piece)
            channels.append(start + held)
            offsets.append(value.offset)
            start += len(value.offset)
        joined = x.call(torch.cat, pieces, 1) if len(pieces) > 1 else next(iter(pieces), None)
        return Value(joined, torch.cat(channels), torch.cat(offsets))

    @staticmethod
    def _parts(node: fx.Node) -> Sequence[fx.Node]:
        return cast(Sequence[fx.Node], node.args[0])


@dataclass(frozen=True)
class _Spatial(Rule):
    """An operation on each channel by itself: pooling, padding, the mean over the pixels.

    Attributes:
        function: what to call in the small network.
        names: of its arguments after the input, in order; also a module's attributes.
        keeps_constants: given the arguments by name, whether f(x + c) = f(x) + c for a constant c.
        fixed: arguments of an operation that has none of its own.
    """

    function: Callable[..., Any]
    names: tuple[str, ...] = ()
    keeps_constants: Callable[[Mapping[str, Any]], bool] = lambda arguments: True
    fixed: Mapping[str, Any] | None = None

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        if x.shape(node)[:2] != x.shape(_source(node))[:2]:
            raise x.unknown(node)
        super().needs(x, node, needed)

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        source = _source(node)
        value = x.value(source)
        if self.fixed is not None:
            arguments = dict(self.fixed)
        elif node.op == "call_module":
            arguments = {name: getattr(x.module(node), name) for name in self.names}
        else:
            arguments = {**dict(zip(self.names, node.args[1:], strict=False)), **node.kwargs}
        if self.keeps_constants(arguments):
            output, channels = x.map_held(value, needed, self.function, **arguments)
            return Value(output, channels, value.offset)
        channels = _places(needed & value.not_zero())
        output = None
        if len(channels):
            factor = _factor_of_divisor(arguments)
            output = x.call(self.function, x.whole(source, channels), **arguments)
            if factor != 1:
                output = x.call(operator.mul, output, factor)
        return Value(output, channels, torch.zeros_like(value.offset))


class _Slice(Rule):
    """``x[:, channels, rows, columns]`` with slices."""

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        source = _source(node)
        taken = torch.zeros(x.shape(source)[1], dtype=torch.bool)
        taken[self._taken(x, node)] = needed
        x.need(source, taken)

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        value = x.value(_source(node))
        taken = self._taken(x, node)
        held = value.channels[torch.isin(value.channels, taken[needed])]
        inputs = x.select(value, held)
        output = None
        if inputs is not None:
            key = cast(tuple[slice, ...], node.args[1])
            output = x.call(operator.getitem, inputs, (key[0], slice(None), *key[2:]))
        return Value(output, torch.searchsorted(taken, held), value.offset[taken])

    @staticmethod
    def _taken(x: _Extraction, node: fx.Node) -> Tensor:
        key = node.args[1]
        if not isinstance(key, tuple) or not all(isinstance(part, slice) for part in key):
            raise x.unknown(node)
        channels = torch.arange(x.shape(_source(node))[1])
        return channels[cast(slice, key[1])].contiguous() if len(key) > 1 else channels


class _Flatten(Rule):
    """(images, channels, height, width) to (images, features)."""

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        images, channels, *size = x.shape(_source(node))
        if x.shape(node) != (images, channels * torch.Size(size).numel()):
            raise x.unknown(node)
        x.need(_source(node), needed.reshape(channels, -1).any(dim=1))

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        value = x.value(_source(node))
        pixels = len(needed) // len(value.offset)
        output = None if value.node is None else x.call(torch.flatten, value.node, 1)
        features = (value.channels[:, None] * pixels + torch.arange(pixels)).flatten()
        return Value(output, features, value.offset.repeat_interleave(pixels))


class _Same(Rule):
    """What does nothing in evaluation."""

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        return x.value(_source(node))


class _Zeros(Rule):
    """``torch.zeros_like``."""

    def needs(self, x: _Extraction, node: fx.Node, needed: Tensor) -> None:
        pass

    def build(self, x: _Extraction, node: fx.Node, needed: Tensor) -> Value:
        return Value.constant(_zeros(len(needed)))


def _source(node: fx.Node) -> fx.Node:
    return cast(fx.Node, node.args[0])


def _places(mask: Tensor) -> Tensor:
    return mask.nonzero().flatten()


def _zeros(channels: int) -> Tensor:
    return torch.zeros(channels, dtype=torch.float64)


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()


def _bias(layer: nn.Conv2d | nn.Linear, outputs: int) -> Tensor:
    return _zeros(outputs) if layer.bias is None else _double(layer.bias).clone()


def _averages_evenly(arguments: Mapping[str, Any]) -> bool:
    """Whether an average pool divides by the number of pixels it sees, at borders too."""
    if arguments.get("divisor_override") is not None:
        return False
    return arguments.get("padding", 0) in (0, (0, 0)) or not arguments.get(
        "count_include_pad", True
    )


def _factor_of_divisor(arguments: dict[str, Any]) -> float:
    """The factor that makes an average pool's divisor unnecessary, which is then taken out.

    ONNX has no divisor, and torch's exporter drops it (findings/). Where the last windows may be
    cut off (``ceil_mode``), no factor does, and it stays.
    """
    divisor = arguments.get("divisor_override")
    if divisor is None or arguments.get("ceil_mode"):
        return 1.0
    arguments |= {"divisor_override": None, "count_include_pad": True}
    size = arguments["kernel_size"]
    height, width = size if isinstance(size, Sequence) and len(size) == 2 else (size, size)
    return height * width / divisor


_AVERAGE_POOL = _Spatial(
    F.avg_pool2d,
    ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    _averages_evenly,
)
_MAX_POOL = _Spatial(F.max_pool2d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode"))
_GLOBAL_POOL = _Spatial(F.adaptive_avg_pool2d, ("output_size",))
_MEAN = _Spatial(torch.mean, ("dim", "keepdim"))

_RULES: Mapping[Any, Rule] = {
    nn.Conv2d: _Dense(),
    nn.Linear: _Dense(),
    nn.BatchNorm2d: _Norm(),
    **dict.fromkeys((nn.ReLU, torch.relu, F.relu, "relu"), _Relu()),
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add"), _Sum()),
    operator.mul: _Scaling(),
    torch.cat: _Concatenation(),
    **dict.fromkeys((nn.AvgPool2d, F.avg_pool2d), _AVERAGE_POOL),
    **dict.fromkeys((nn.MaxPool2d, F.max_pool2d), _MAX_POOL),
    **dict.fromkeys((nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d), _GLOBAL_POOL),
    **dict.fromkeys((torch.mean, "mean"), _MEAN),
    AveragePool: _Spatial(
        F.avg_pool2d,
        fixed={"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False},
    ),
    F.pad: _Spatial(F.pad, ("pad", "mode", "value"), lambda arguments: False),
    operator.getitem: _Slice(),
    **dict.fromkeys((nn.Flatten, torch.flatten, "flatten", "view", "reshape"), _Flatten()),
    **dict.fromkeys((nn.Identity, nn.Dropout, StochasticDepth), _Same()),
    torch.zeros_like: _Zeros(),
}
"""Module class, function or method name -> rule; for depthwise convolutions it is another."""
_MODULES = tuple(kind for kind in _RULES if isinstance(kind, type))
