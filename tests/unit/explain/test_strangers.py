"""Networks as other people write them: incremental, dense, or one clear error; never changed.

The reference is the network itself, called with one masked image at a time, in its own format.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from support.strangers import Stranger, generate
from torch import Tensor, nn

from ier_ray.errors import NetworkError
from ier_ray.explain import Masking, exact_evaluator
from ier_ray.explain.evaluators import logit
from ier_ray.explain.masking import MaskedImages, RegionMasking

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Relative to the largest logit; single precision rounds, and some networks magnify that."""
SEEDS_IN_A_TEST = 20
OF_REFUSED = ("refused",)


def test_placeholder() -> None: ...


def rectangles(height: int, width: int, generator: np.random.Generator) -> Masking:
    """All, nothing, and rectangles anywhere, also at borders and empty."""
    corners = [np.sort(generator.integers(0, n + 1, (12, 2)), axis=1) for n in (height, width)]
    whole = [[0, height, 0, width]] * 2
    found = np.concatenate([np.array(whole), np.concatenate(corners, axis=1)])
    return Masking(found, np.arange(len(found)) % 2 == 0)


def regions(height: int, width: int, generator: np.random.Generator) -> RegionMasking:
    """Sets of pixels that are no rectangles."""
    return RegionMasking(
        generator.random((3, 4)) < 0.5, generator.integers(0, 4, (height, width))
    )


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


def outcome_of(seed: int) -> str:
    """Explain the network of a seed: how it was scored, or ``refused``; checked."""
    stranger, generator = generate(seed), np.random.default_rng(seed)
    network, image, baseline = stranger.network, stranger.image, stranger.baseline
    size = (image.shape[1], image.shape[2])
    maskings = [rectangles(*size, generator), regions(*size, generator)]
    before, kept, random = state_of(network), torch.stack([image, baseline]), torch.get_rng_state()
    try:
        evaluator = exact_evaluator(network, image, baseline, score=logit)
        found = np.concatenate([evaluator(masking) for masking in maskings])
    except NetworkError as error:
        assert stranger.has("refused"), error
        return "refused"
    finally:
        assert_unchanged(before, state_of(network))
        assert torch.equal(kept, torch.stack([image, baseline]))
        assert torch.equal(random, torch.get_rng_state())
    expected = np.concatenate([said(network, image, baseline, each) for each in maskings])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCES[image.dtype] * scale)
    return evaluator.inference
