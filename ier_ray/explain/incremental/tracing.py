"""A network as steps that incremental inference can run, and a dense tail."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ier_ray.explain.incremental.operations import Join, Operation, Pointwise, Size, Slide, Step
from ier_ray.explain.incremental.readout import Readout

POINTWISE_MODULES = (
    nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.ELU, nn.GELU, nn.Hardswish, nn.Identity,
    nn.LeakyReLU, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.SiLU, nn.Tanh,
)  # fmt: skip
POINTWISE_FUNCTIONS = (functional.relu, torch.relu, torch.sigmoid, torch.tanh)
ADDITIONS = (operator.add, operator.iadd, torch.add)


class UntraceableError(ValueError):
    """A network that incremental inference cannot run; the message says why."""


@dataclass(frozen=True)
class TracedNetwork:
    """A network cut into windowed steps and a dense rest.

    Attributes:
        source: name of the input.
        steps: operations whose changes stay local, in order.
        frontier: the values that ``readout`` or ``tail`` reads, in the order of its arguments.
        readout: the dense layer that reads the frontier, where it is one.
        tail: everything else: from the readout's outputs, or from whole maps, to logits.
        whole: the network itself.
    """

    source: str
    steps: tuple[Step, ...]
    frontier: tuple[str, ...]
    readout: Readout | None
    tail: Callable[..., Tensor]
    whole: nn.Module


def trace(network: nn.Module) -> TracedNetwork:
    """Steps of a network in eval mode, with the weights it has now.

    Raises:
        UntraceableError: when its course depends on its input, when it is in training mode, or when
            no convolution comes before the first operation that mixes all positions.
    """
    if any(module.training for module in network.modules()):
        raise UntraceableError("the network is in training mode: call .eval() first")
    try:
        graph = fx.Tracer().trace(network)
    except Exception as error:  # whatever the network's own code does with a stand-in
        raise UntraceableError(f"the network cannot be traced: {error}") from error
    nodes = list(graph.nodes)
    sources = [node for node in nodes if node.op == "placeholder"]
    changing = _changed_in_place(network, nodes)
    local: dict[fx.Node, Step | None] = {sources[0]: None}
    for node in nodes:
        step, reads = _step(network, node), node.all_input_nodes
        if step is not None and all(read in local and read not in changing for read in reads):
            local[node] = step
    for node in reversed(nodes):  # the tail reads whole maps: it joins them more cheaply
        step = local.get(node)
        if (
            step is not None
            and isinstance(step.operation, Join)
            and local.keys().isdisjoint(node.users)
        ):
            del local[node]
    steps = tuple(step for step in local.values() if step is not None)
    if not any(isinstance(step.operation, Slide) and step.operation.macs for step in steps):
        raise UntraceableError("no convolution comes before an operation over all positions")
    frontier = [node for node in local if any(user not in local for user in node.users)]
    dense = _first_dense(network, nodes, frontier, local.keys())
    readout, known = None, set(local)
    if dense is None:
        graph = _rest(nodes, frontier, known)
    else:
        readout = Readout(network.get_submodule(str(dense.layer.target)))  # type: ignore[arg-type]
        frontier = dense.maps
        graph = _rest(nodes, [dense.layer], known | dense.nodes)
    used = _soonest(_needed(steps, {node.name for node in frontier}), sources[0].name)
    names = tuple(node.name for node in frontier)
    tail = fx.GraphModule(network, graph)
    return TracedNetwork(sources[0].name, used, names, readout, tail, network)


@dataclass(frozen=True)
class _FirstDense:
    """A dense layer of flattened maps, what it reads, and the nodes from there to it."""

    layer: fx.Node
    maps: list[fx.Node]
    nodes: set[fx.Node]


def _first_dense(
    network: nn.Module, nodes: list[fx.Node], frontier: list[fx.Node], local: Collection[fx.Node]
) -> _FirstDense | None:
    """The dense layer that alone reads the frontier, joined and flattened; None without one."""
    for layer in nodes:
        if layer.op != "call_module":
            continue
        if type(network.get_submodule(str(layer.target))) is not nn.Linear:
            continue
        flat = layer.all_input_nodes[0]
        if not _flattens(network, flat):
            continue
        (read,) = flat.all_input_nodes
        joined = read.op == "call_function" and read.target is torch.cat and _joins_channels(read)
        maps = list(read.args[0]) if joined and read not in local else [read]  # type: ignore[arg-type]
        between = {flat, layer} | ({read} if read not in local else set())
        outside = {user for node in [*maps, *between - {layer}] for user in node.users}
        alone = len(maps) == len(frontier) and set(maps) == set(frontier)
        if alone and outside - set(local) <= between:
            return _FirstDense(layer, maps, between)
    return None


def _flattens(network: nn.Module, node: fx.Node) -> bool:
    """Whether a node flattens all but the first dimension."""
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)
    named = node.op == "call_method" and node.target == "flatten"
    return (named or node.target is torch.flatten) and node.args[1:] == (1,) and not node.kwargs


def _needed(steps: Sequence[Step], wanted: set[str]) -> tuple[Step, ...]:
    """The steps that some wanted value depends on."""
    kept = []
    for step in reversed(steps):
        if step.output in wanted:
            wanted = wanted | set(step.inputs)
            kept.append(step)
    return tuple(reversed(kept))


def _soonest(steps: tuple[Step, ...], source: str) -> tuple[Step, ...]:
    """The same steps, side branches as soon as what they read is there.

    Rows split into more and more groups on their way: what comes early takes fewer calls.
    """
    ordered: list[Step] = []
    known, waiting = set(), [source]
    while waiting:
        known.add(waiting.pop())
        ready = [s for s in steps if s.output not in known and known.issuperset(s.inputs)]
        if ready:
            ordered.append(ready[-1])
            waiting.append(ready[-1].output)
    return tuple(ordered)


def _rest(nodes: list[fx.Node], frontier: list[fx.Node], local: set[fx.Node]) -> fx.Graph:
    """The graph from the frontier to the output."""
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in frontier}
    for node in nodes:
        if node not in local and node.op != "placeholder":
            copies[node] = graph.node_copy(node, lambda read: copies[read])
    return graph


def _step(network: nn.Module, node: fx.Node) -> Step | None:
    """The node as a windowed step, or None when it is none."""
    operation: Operation | None = None
    inputs = tuple(node.all_input_nodes)
    if node.op == "call_module":
        operation = _module_operation(network.get_submodule(str(node.target)))
    elif node.op == "call_method" and node.target in {"relu", "relu_", "sigmoid", "tanh"}:
        operation = Pointwise(getattr(functional, str(node.target).rstrip("_")))
    elif node.op == "call_function" and node.target in POINTWISE_FUNCTIONS:
        operation = Pointwise(partial(_call, node.target, kwargs=dict(node.kwargs)))
    elif node.op == "call_function" and node.target in ADDITIONS:
        if node.args == inputs and len(inputs) == 2 and not node.kwargs:
            operation = Join(lambda maps: maps[0] + maps[1])
    elif node.op == "call_function" and node.target is torch.cat and _joins_channels(node):
        inputs = tuple(node.args[0])  # type: ignore[arg-type]
        operation = Join(partial(torch.cat, dim=1))
    if operation is None:
        return None
    return Step(node.name, tuple(read.name for read in inputs), operation)


def _changed_in_place(network: nn.Module, nodes: list[fx.Node]) -> set[fx.Node]:
    """Values that one reader overwrites: what the others read depends on their turn."""
    changes = (node.all_input_nodes[0] for node in nodes if _works_in_place(network, node))
    return {changed for changed in changes if len(changed.users) > 1}


def _works_in_place(network: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(network.get_submodule(str(node.target)), "inplace", False))
    named = str(node.target).endswith("_") and node.op == "call_method"
    return named or node.target is operator.iadd or bool(node.kwargs.get("inplace", False))


def _call(function: Callable[..., Tensor], maps: Tensor, kwargs: dict[str, Any]) -> Tensor:
    return function(maps, **kwargs)


def _joins_channels(node: fx.Node) -> bool:
    dimension = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    return dimension in {1, -3} and isinstance(node.args[0], list | tuple)


def _module_operation(module: nn.Module) -> Operation | None:
    if type(module) in POINTWISE_MODULES:
        return Pointwise(module)
    if type(module) is nn.Conv2d and module.padding_mode == "zeros":
        return _convolution(module)
    if type(module) is nn.MaxPool2d and not module.ceil_mode and not module.return_indices:
        return _max_pool(module)
    if type(module) is nn.AvgPool2d and not module.ceil_mode and module.padding in {0, (0, 0)}:
        kernel = _pair(module.kernel_size)
        return Slide(module, kernel, _pair(module.stride), (0, 0))
    return None


def _convolution(module: nn.Conv2d) -> Slide | None:
    if isinstance(module.padding, str):
        return None
    # In the layout of the maps; else every call copies it. The same tensor if it is so already.
    weight = module.weight.detach().contiguous(memory_format=torch.channels_last)

    def apply(maps: Tensor) -> Tensor:
        return functional.conv2d(
            maps, weight, module.bias, module.stride, 0, module.dilation, module.groups
        )

    rows, columns = (
        (length - 1) * holes + 1
        for length, holes in zip(module.kernel_size, module.dilation, strict=True)
    )
    return Slide(
        apply,
        (rows, columns),
        _pair(module.stride),
        _pair(module.padding),
        macs=module.weight.numel(),
        weights=module.weight.numel(),
    )


def _max_pool(module: nn.MaxPool2d) -> Slide:
    kernel, stride = _pair(module.kernel_size), _pair(module.stride)
    dilation = _pair(module.dilation)

    def apply(maps: Tensor) -> Tensor:
        return functional.max_pool2d(maps, kernel, stride, 0, dilation)

    rows, columns = (
        (length - 1) * holes + 1 for length, holes in zip(kernel, dilation, strict=True)
    )
    return Slide(apply, (rows, columns), stride, _pair(module.padding), fill=-torch.inf)


def _pair(value: Any) -> Size:
    if isinstance(value, int):
        return value, value
    rows, columns = value
    return int(rows), int(columns)
