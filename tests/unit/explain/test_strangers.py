"""Networks as other people write them: incremental, dense, or one clear error; never changed.

The reference is the network itself, called with one masked image at a time, in its own format.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from support.strangers.generator import GROUPS, Head, Stranger, generate
from support.strangers.layers import ONE_BY_ONE, UNDETERMINED, WHOLE, WINDOWED
from torch import Tensor, nn

from ier_ray.errors import NetworkError
from ier_ray.explain import IncrementalEvaluator, Masking, exact_evaluator
from ier_ray.explain.evaluators import logit
from ier_ray.explain.incremental.tracing import trace
from ier_ray.explain.masking import MaskedImages, RegionMasking

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Relative to the largest logit; single precision rounds, and some networks magnify that."""
SEEDS = range(120)


def rectangles(height: int, width: int, generator: np.random.Generator) -> Masking:
    """All, nothing, and rectangles anywhere, also at borders and empty."""
    corners = [np.sort(generator.integers(0, n + 1, (12, 2)), axis=1) for n in (height, width)]
    whole = [[0, height, 0, width]] * 2
    found = np.concatenate([np.array(whole), np.concatenate(corners, axis=1)])
    return Masking(found, np.arange(len(found)) % 2 == 0)


def regions(height: int, width: int, generator: np.random.Generator) -> RegionMasking:
    """Sets of pixels that are no rectangles."""
    return RegionMasking(generator.random((3, 4)) < 0.5, generator.integers(0, 4, (height, width)))


@torch.no_grad()
def said(network: nn.Module, image: Tensor, baseline: Tensor, masking: MaskedImages) -> np.ndarray:
    """Logits of the network itself, one masked image at a time."""
    shown = torch.from_numpy(masking.pixels(*image.shape[1:]))[:, None]
    rows = [network(torch.where(mask, image, baseline)[None]) for mask in shown]
    return torch.cat(rows).double().numpy()


def state_of(network: nn.Module) -> dict[str, Any]:
    """All that explaining may not change."""
    state: dict[str, Any] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        kept = tensor.detach().clone() if isinstance(tensor, Tensor) else tensor
        more = (tensor.stride(), tensor.requires_grad, tensor.grad) if kept is not tensor else ()
        state[name] = (kept, *more)
    for name, module in network.named_modules():
        hooks = [len(module._forward_hooks), len(module._forward_pre_hooks)]
        attributes = vars(module).keys() if not isinstance(module, torch.jit.ScriptModule) else ()
        counts = {key: value for key, value in vars(module).items() if isinstance(value, int)}
        state[f"module {name}"] = (hooks, module.training, set(attributes), counts)
    return state


def assert_unchanged(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    for name, value in before.items():
        first, *rest = value
        other, *others = after[name]
        assert rest == others, name
        same = torch.equal(first, other) if isinstance(first, Tensor) else first == other
        assert same, name


def compared(stranger: Stranger, maskings: list[MaskedImages]) -> str:
    """How a network was scored, after checking that it was scored right and left as it was."""
    network, image, baseline = stranger.network, stranger.image, stranger.baseline
    before, kept, random = state_of(network), torch.stack([image, baseline]), torch.get_rng_state()
    try:
        evaluator = exact_evaluator(network, image, baseline, score=logit)
        found = np.concatenate([evaluator(masking) for masking in maskings])
    finally:
        assert_unchanged(before, state_of(network))
        assert torch.equal(kept, torch.stack([image, baseline]))
        assert torch.equal(random, torch.get_rng_state())
    expected = np.concatenate([said(network, image, baseline, each) for each in maskings])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCES[image.dtype] * scale)
    return evaluator.inference


def outcome_of(seed: int) -> str:
    """How the network of a seed was scored, or ``refused``."""
    stranger, generator = generate(seed), np.random.default_rng(seed)
    size = (stranger.image.shape[1], stranger.image.shape[2])
    try:
        return compared(stranger, [rectangles(*size, generator), regions(*size, generator)])
    except NetworkError:
        if not stranger.has("refused"):
            raise
        return "refused"


def test_generated_networks_are_explained_exactly_or_refused() -> None:
    outcomes = Counter(outcome_of(seed).split(":")[0] for seed in SEEDS)
    assert outcomes.keys() == {"incremental", "dense", "refused"}
    assert outcomes["incremental"] > 0.4 * len(SEEDS)
    assert outcomes["dense"] > 0.2 * len(SEEDS)


def single(layer: str) -> Stranger:
    """A network with this layer between others."""
    torch.manual_seed(0)
    image, baseline = torch.randn(2, 3, 12, 15, dtype=torch.float64)
    build = next(group[layer] for group in GROUPS.values() if layer in group)
    middle = build(6, np.random.default_rng(0)).eval()
    first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Hardswish())
    channels = middle(torch.randn(1, 6, 12, 15)).shape[1]
    last = Head(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), 4 * channels, nn.Identity())
    network = nn.Sequential(first, middle, nn.Softplus(), last).double().eval()
    return Stranger(network, image, baseline, ())


def inference_of(stranger: Stranger) -> str:
    """How a network is scored; that it is scored right is checked."""
    generator = np.random.default_rng(0)
    return compared(stranger, [rectangles(12, 15, generator), regions(12, 15, generator)])


@pytest.mark.parametrize("layer", WINDOWED)
def test_layers_that_windows_run(layer: str) -> None:
    assert inference_of(single(layer)) == "incremental"


@pytest.mark.parametrize("layer", WHOLE)
def test_layers_that_read_whole_maps(layer: str) -> None:
    inference = inference_of(single(layer))
    assert re.match("incremental|dense: (no convolution|only|maps of different sizes)", inference)


@pytest.mark.parametrize(
    "layer", [name for name in WHOLE if name.endswith(("changed", "elsewhere", "overridden"))]
)
def test_tracing_alone_sees_what_is_changed_in_place(layer: str) -> None:
    stranger, masking = single(layer), rectangles(12, 15, np.random.default_rng(0))
    traced = trace(stranger.network)
    found = IncrementalEvaluator(traced, stranger.image, stranger.baseline, logit)(masking)
    expected = said(stranger.network, stranger.image, stranger.baseline, masking)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("layer", ONE_BY_ONE)
def test_layers_that_see_the_batch_or_hide_what_they_do(layer: str) -> None:
    inference = inference_of(single(layer))
    assert inference.startswith("dense: ")
    assert inference.endswith("run one by one")


@pytest.mark.parametrize("layer", UNDETERMINED)
def test_layers_whose_output_is_not_determined(layer: str) -> None:
    with pytest.raises(NetworkError, match=r"not determined by its image: (it draws|two calls)"):
        inference_of(single(layer))
