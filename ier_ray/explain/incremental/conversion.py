"""Conversion of a traced network's nodes to windowed steps."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ier_ray.explain.incremental.operations import Join, Operation, Pointwise, Size, Slide, Step

POINTWISE_MODULES = (
    nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.ELU, nn.GELU, nn.Hardswish, nn.Identity,
    nn.LeakyReLU, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.SiLU, nn.Tanh,
)  # fmt: skip
POINTWISE_FUNCTIONS = (functional.relu, torch.relu, torch.sigmoid, torch.tanh)
POINTWISE_METHODS = {"relu", "relu_", "sigmoid", "tanh"}
ADDITIONS = (operator.add, operator.iadd, torch.add)
SEPARATE_MODULES = (
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.Conv2d, nn.Linear, nn.MaxPool2d,
)  # fmt: skip
RETURN_THEIR_INPUT = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""In eval mode, the input itself and not a copy."""
COMPARISONS = {
    "eq", "ge", "greater", "greater_equal", "gt", "le", "less", "less_equal", "lt", "ne",
    "not_equal",
}  # fmt: skip
IN_PLACE_OPERATORS = (
    operator.iadd, operator.iand, operator.ifloordiv, operator.imatmul, operator.imod,
    operator.imul, operator.ior, operator.ipow, operator.isub, operator.itruediv, operator.ixor,
)  # fmt: skip


def step_of(network: nn.Module, node: fx.Node) -> Step | None:
    """The node as a windowed step; None if it cannot be one."""
    operation = _operation(network, node)
    if operation is None or any(isinstance(v, fx.Node) for v in node.kwargs.values()):
        return None
    # A concatenation's inputs keep their order and their repetitions.
    inputs: Any = node.args[0] if node.target is torch.cat else node.all_input_nodes
    return Step(node.name, tuple(read.name for read in inputs), operation)


def decides(node: fx.Node) -> bool:
    """Whether a comparison is used for more than an assertion: maybe to decide for a batch."""
    name = getattr(node.target, "__name__", node.target)
    compares = node.op in {"call_function", "call_method"} and name in COMPARISONS
    return compares and any(user.target is not torch._assert for user in node.users)


def treats_images_alone(network: nn.Module, node: fx.Node) -> bool:
    """Whether an operation is known to be a function of each image alone, whatever its batch."""
    if node.op in {"placeholder", "output"} or flattens(network, node):
        return True
    separate = node.op == "call_module" and type(module_of(network, node)) in SEPARATE_MODULES
    return separate or step_of(network, node) is not None


def flattens(network: nn.Module, node: fx.Node) -> bool:
    """Whether a node flattens all but the first dimension."""
    if node.op == "call_module":
        module = module_of(network, node)
        return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)
    named = node.op == "call_method" and node.target == "flatten"
    return (named or node.target is torch.flatten) and node.args[1:] == (1,) and not node.kwargs


def module_of(network: nn.Module, node: fx.Node) -> nn.Module:
    """The module that a node calls."""
    return network.get_submodule(str(node.target))


def joins_channels(node: fx.Node) -> bool:
    """Whether a concatenation is along the channels of maps."""
    dimension = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    return dimension in {1, -3} and bool(node.args) and isinstance(node.args[0], list | tuple)


def is_as_defined(module: nn.Module) -> bool:
    """Whether a module does what its class in torch says: nobody replaced a method or a weight."""
    replaced = (
        callable(value) and hasattr(type(module), name) for name, value in vars(module).items()
    )
    weights = module.parameters(recurse=False)
    own = type(module).__module__.startswith("torch.")
    return own and not any(replaced) and all(type(each) is nn.Parameter for each in weights)


def overwritten(network: nn.Module, node: fx.Node) -> fx.Node | None:
    """The value whose memory a node overwrites, if any."""
    return node.all_input_nodes[0] if _works_in_place(network, node) else None


def _works_in_place(network: nn.Module, node: fx.Node) -> bool:
    """Whether a node overwrites its first input."""
    if node.op == "call_module":
        return bool(getattr(module_of(network, node), "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_")
    if node.op != "call_function" or not node.all_input_nodes:
        return False
    named = getattr(node.target, "__name__", "").endswith("_") or bool(node.kwargs.get("inplace"))
    return named or node.target in IN_PLACE_OPERATORS


def is_fresh(network: nn.Module, node: fx.Node) -> bool:
    """Whether a value surely shares no memory with what it is computed from."""
    if node.op == "call_module" and type(module_of(network, node)) in RETURN_THEIR_INPUT:
        return False
    return overwritten(network, node) is None and step_of(network, node) is not None


def _operation(network: nn.Module, node: fx.Node) -> Operation | None:
    match node.op:
        case "call_module":
            return _module_operation(module_of(network, node))
        case "call_method" if node.target in POINTWISE_METHODS:
            return Pointwise(getattr(functional, str(node.target).rstrip("_")))
        case "call_function":
            return _function_operation(node)
    return None


def _function_operation(node: fx.Node) -> Operation | None:
    if node.target in POINTWISE_FUNCTIONS:
        return Pointwise(partial(_call, node.target, kwargs=dict(node.kwargs)))
    if node.target in ADDITIONS:
        of_two_maps = node.args == tuple(node.all_input_nodes) and len(node.args) == 2
        if of_two_maps and not node.kwargs:
            return Join(lambda maps: maps[0] + maps[1])
    if node.target is torch.cat and joins_channels(node):
        return Join(partial(torch.cat, dim=1))
    return None


def _call(function: Callable[..., Tensor], maps: Tensor, kwargs: dict[str, Any]) -> Tensor:
    return function(maps, **kwargs)


def _module_operation(module: nn.Module) -> Operation | None:
    if isinstance(module, nn.BatchNorm2d) and module.running_mean is None:
        return None  # it normalizes by the statistics of the batch
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
    # In the layout of the maps, or every call would copy it. No copy if it has that layout.
    weight = module.weight.detach().contiguous(memory_format=torch.channels_last)

    def apply(maps: Tensor) -> Tensor:
        return functional.conv2d(
            maps, weight, module.bias, module.stride, 0, module.dilation, module.groups
        )

    rows, columns = (
        (length - 1) * spacing + 1
        for length, spacing in zip(module.kernel_size, module.dilation, strict=True)
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
        (length - 1) * spacing + 1 for length, spacing in zip(kernel, dilation, strict=True)
    )
    return Slide(apply, (rows, columns), stride, _pair(module.padding), fill=-torch.inf)


def _pair(value: Any) -> Size:
    if isinstance(value, int):
        return value, value
    rows, columns = value
    return int(rows), int(columns)
