"""Tracing: a network as windowed steps that incremental inference can run, and a tail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as modules

from ier_ray.explain.incremental.conversion import (
    IN_PLACE_OPERATORS,
    decides,
    flattens,
    is_as_defined,
    is_fresh,
    joins_channels,
    module_of,
    overwritten,
    step_of,
    treats_images_alone,
)
from ier_ray.explain.incremental.operations import Join, Slide, Step
from ier_ray.explain.incremental.readout import Readout
from ier_ray.explain.memory import is_out_of_memory
from ier_ray.explain.networks import FORWARD, as_logits, in_one_line, require_ready

LocalNodes = dict[fx.Node, Step | None]
"""Nodes whose changes stay local, in order, with their steps; the network's input has none."""


class UntraceableError(ValueError):
    """A network that incremental inference cannot run; the message says why."""


class OpaqueNetworkError(UntraceableError):
    """A network that does what tracing does not see, such as decide by what a batch holds."""


@dataclass(frozen=True)
class TracedNetwork:
    """A network divided into windowed steps, a readout and a tail.

    Attributes:
        source: name of the input.
        steps: operations whose changes stay local, in order.
        frontier: the values that ``readout`` or ``tail`` reads, in the order of its arguments.
        readout: the dense layer that reads the frontier, if one does.
        tail: everything after: from the readout's outputs, or from whole maps, to logits.
        whole: the network itself.
        separate: whether each of its operations is known to treat images alone and always alike.
    """

    source: str
    steps: tuple[Step, ...]
    frontier: tuple[str, ...]
    readout: Readout | None
    tail: Callable[..., Tensor]
    whole: nn.Module
    separate: bool

    def logits(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits ``(M, K)`` by the tail, from its inputs for M images, which it may overwrite.

        Raises:
            UntraceableError: when it fails: it may expect maps in the network's own layout.
            NetworkError: when it returns anything else.
            RuntimeError, MemoryError: when memory runs out.
        """
        rows = len(inputs[0])
        try:
            output = self.tail(*inputs)
        except Exception as error:  # the user's code may raise anything
            if is_out_of_memory(error):
                raise
            raise UntraceableError(f"what follows windows fails: {in_one_line(error)}") from error
        return as_logits(output, rows)


def trace(network: nn.Module) -> TracedNetwork:
    """Steps of a network in eval mode, with the weights it has now.

    The network is called with a stand-in for images: what it keeps of its inputs, it keeps of
    that, and other changes that it makes to itself are made. Trace a private copy.

    Raises:
        NetworkError: when it is in training mode.
        OpaqueNetworkError: when it has hooks or TorchScript, compares values, or cannot be traced,
            such as for control flow that depends on the input.
        UntraceableError: when it has no convolution before the first operation over all positions.
    """
    require_ready(network)
    _require_visible(network)
    whole, network = network, nn.Sequential(network)  # so called, default arguments are filled in
    nodes = _graph_nodes(network)
    source = next(node for node in nodes if node.op == "placeholder")
    local = _local_nodes(network, nodes, source)
    steps = tuple(step for step in local.values() if step is not None)
    if not any(isinstance(step.operation, Slide) and step.operation.macs for step in steps):
        raise UntraceableError("no convolution comes before an operation over all positions")
    frontier = [node for node in local if any(user not in local for user in node.users)]
    dense = _first_dense(network, nodes, frontier, local.keys())
    if dense is None:
        readout, tail = None, _graph_from(frontier, nodes, before=local.keys())
    else:
        readout = Readout(module_of(network, dense.layer))  # type: ignore[arg-type]
        frontier = dense.maps
        tail = _graph_from([dense.layer], nodes, before=local.keys() | dense.nodes)
    names = tuple(node.name for node in frontier)
    return TracedNetwork(
        source=source.name,
        steps=_soonest(_needed(steps, set(names)), source.name),
        frontier=names,
        readout=readout,
        tail=fx.GraphModule(network, tail),
        whole=whole,
        separate=all(treats_images_alone(network, node) for node in nodes),
    )


class _Value(fx.Proxy):
    """A value in a trace; fx takes ``x += y`` for ``x + y``, which leaves ``x`` as it is."""


def _recorded(operator: Callable[..., Any]) -> Callable[[_Value, Any], fx.Proxy]:
    """The method of a value that records an operator."""
    return lambda value, other: value.tracer.create_proxy(
        "call_function", operator, (value, other), {}
    )


for each in IN_PLACE_OPERATORS:
    setattr(_Value, f"__{each.__name__}__", _recorded(each))


class _Tracer(fx.Tracer):
    """Sees torch's own layers as one operation each, and what all other modules do."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The value of a node."""
        return _Value(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module and all in it are as torch defines them; DataParallel only wraps."""
        wraps = isinstance(m, nn.DataParallel)
        own = all(map(is_as_defined, m.modules()))
        return own and not wraps and super().is_leaf_module(m, module_qualified_name)


def _require_visible(network: nn.Module) -> None:
    """Raise OpaqueNetworkError for modules that run code which tracing cannot see."""
    everywhere = modules._global_forward_hooks or modules._global_forward_pre_hooks
    for name, module in network.named_modules():
        where = f"{type(module).__name__} {name}".strip()
        if everywhere or module._forward_hooks or module._forward_pre_hooks:
            raise OpaqueNetworkError(f"the network has forward hooks (on {where})")
        if isinstance(module, torch.jit.ScriptModule):
            raise OpaqueNetworkError(f"the network has TorchScript ({where})")


def _graph_nodes(network: nn.Module) -> list[fx.Node]:
    """Every operation of a network, in order."""
    try:
        with FORWARD:
            nodes = list(_Tracer().trace(network).nodes)
    except Exception as error:  # the network's own code may raise anything when given a proxy
        raise OpaqueNetworkError(f"the network cannot be traced: {in_one_line(error)}") from error
    for node in nodes:
        if decides(node):
            raise OpaqueNetworkError(f"the network decides by comparing values ({node.name})")
    return nodes


def _local_nodes(network: nn.Module, nodes: list[fx.Node], source: fx.Node) -> LocalNodes:
    """The nodes that windowed steps can compute, from the input on."""
    changing = _changed_in_place(network, nodes)
    local: LocalNodes = {source: None}
    for node in nodes:
        step, reads = step_of(network, node), node.all_input_nodes
        if step is not None and all(read in local and read not in changing for read in reads):
            local[node] = step
    for node in reversed(nodes):  # final joins are cheaper in the tail, on whole maps
        step = local.get(node)
        joins = step is not None and isinstance(step.operation, Join)
        if joins and local.keys().isdisjoint(node.users):
            del local[node]
    return local


@dataclass(frozen=True)
class _FirstDense:
    """A dense layer of flattened maps, what it reads, and the nodes from there to it."""

    layer: fx.Node
    maps: list[fx.Node]
    nodes: set[fx.Node]


def _first_dense(
    network: nn.Module, nodes: list[fx.Node], frontier: list[fx.Node], local: Collection[fx.Node]
) -> _FirstDense | None:
    """The dense layer that is the only reader of the frontier, joined and flattened, if any."""
    for layer in nodes:
        if layer.op != "call_module":
            continue
        if type(module_of(network, layer)) is not nn.Linear:
            continue
        flat = layer.all_input_nodes[0]
        if not flattens(network, flat):
            continue
        (read,) = flat.all_input_nodes
        joined = read.op == "call_function" and read.target is torch.cat and joins_channels(read)
        maps = list(read.args[0]) if joined and read not in local else [read]  # type: ignore[arg-type]
        between = {flat, layer} | ({read} if read not in local else set())
        outside = {user for node in [*maps, *between - {layer}] for user in node.users}
        alone = len(maps) == len(frontier) and set(maps) == set(frontier)
        if alone and outside - set(local) <= between:
            return _FirstDense(layer, maps, between)
    return None


def _needed(steps: Sequence[Step], wanted: set[str]) -> tuple[Step, ...]:
    """The steps that some wanted value depends on."""
    kept = []
    for step in reversed(steps):
        if step.output in wanted:
            wanted = wanted | set(step.inputs)
            kept.append(step)
    return tuple(reversed(kept))


def _soonest(steps: tuple[Step, ...], source: str) -> tuple[Step, ...]:
    """The same steps, with side branches as soon as their inputs are known.

    Rows are split into more and more groups from step to step: early steps take fewer calls.
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


def _graph_from(
    inputs: list[fx.Node], nodes: list[fx.Node], *, before: Collection[fx.Node]
) -> fx.Graph:
    """The graph from ``inputs``, which the nodes ``before`` compute, to the output."""
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node in nodes:
        if node not in before and node.op != "placeholder":
            copies[node] = graph.node_copy(node, lambda read: copies[read])
    return graph


def _changed_in_place(network: nn.Module, nodes: list[fx.Node]) -> set[fx.Node]:
    """Values whose memory is overwritten: what other readers see of it depends on the order.

    Values without other readers are left out: who reads a chain of them sees its end only.
    """
    shared: dict[fx.Node, set[fx.Node]] = {}
    changed: set[fx.Node] = set()
    for node in nodes:
        written = overwritten(network, node)
        if written is not None and any(len(each.users) > 1 for each in shared[written]):
            changed |= shared[written]
        aliases = [written] if written is not None else node.all_input_nodes
        memory = {node}
        for each in [] if is_fresh(network, node) else aliases:
            memory |= shared[each]
        shared.update(dict.fromkeys(memory, memory))
    return changed
