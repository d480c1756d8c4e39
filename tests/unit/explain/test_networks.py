"""What a network must be to be explained: each refusal, and each way not to be changed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from support.strangers.layers import Lambda
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from ier_ray.errors import NetworkError
from ier_ray.explain import (
    DenseEvaluator,
    ExactInference,
    IncrementalEvaluator,
    RegionTree,
    exact_evaluator,
)
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.evaluators import SCORES, logit
from ier_ray.explain.incremental.tracing import OpaqueNetworkError, UntraceableError, trace
from ier_ray.explain.masking import RegionMasking
from ier_ray.models.registry import BUILDERS

PLAN = Plan.of(RegionTree.halving(8, 8, depth=4), "both").masking


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


def pair(dtype: torch.dtype = torch.float64, channels: int = 3) -> tuple[Tensor, Tensor]:
    image, baseline = torch.randn(2, channels, 8, 8, dtype=dtype)
    return image, baseline


def classifier(*last: nn.Module, channels: int = 3, classes: int = 4) -> nn.Sequential:
    """A convolution, a dense layer and what comes last, in eval mode and double precision."""
    layers = (nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes), *last)
    return nn.Sequential(*layers).double().eval()


@torch.no_grad()
def assert_exact(
    network: nn.Module, *, starts: str, tolerance: float = 1e-9, dtype: torch.dtype = torch.float64
) -> None:
    """Scores are what the network says of one masked image at a time."""
    channels = next((m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)), 3)
    image, baseline = pair(dtype, channels)
    evaluator = exact_evaluator(network, image, baseline, score=logit)
    assert evaluator.inference.startswith(starts)
    found = evaluator(PLAN)
    masks = torch.from_numpy(PLAN.pixels(8, 8))[:, None]
    expected = torch.cat([network(torch.where(m, image, baseline)[None]) for m in masks])
    np.testing.assert_allclose(found, expected.double().numpy(), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (lambda out: (out, out), "as one tensor, got tuple: wrap it"),
        (lambda out: {"logits": out}, "as one tensor, got dict"),
        (lambda out: [out], "as one tensor, got list"),
        (lambda out: out[:, :, None], r"got torch.float64 of shape \(1, 4, 1\) for 1 images"),
        (lambda out: out[:, 0], r"of shape \(1,\) for 1 images: wrap it"),
        (lambda out: out[:, :0], r"of shape \(1, 0\)"),
        (lambda out: out.view(2, -1), r"of shape \(2, 2\)"),
        (lambda out: out.argmax(1, keepdim=True), "real numbers, got torch.int64"),
        (lambda out: out.to(torch.complex128), "real numbers, got torch.complex128"),
    ],
)
def test_anything_but_logits_is_refused(last: Callable[[Tensor], Any], message: str) -> None:
    network = classifier(Lambda(last))
    with pytest.raises(NetworkError, match=message):
        exact_evaluator(network, *pair())
    with pytest.raises(NetworkError, match=message):
        DenseEvaluator(network, *pair())(PLAN)
    with pytest.raises(NetworkError, match="the network must return logits"):
        IncrementalEvaluator(trace(network), *pair())(PLAN)


@pytest.mark.parametrize("score", ["probability", "log_odds"])
def test_a_single_output_has_a_logit_only(score: str) -> None:
    network = classifier(classes=1)
    assert_exact(network, starts="incremental")
    with pytest.raises(NetworkError, match=r"one output, whose softmax .* score logit"):
        exact_evaluator(network, *pair(), score=SCORES[score])(PLAN)


def test_training_mode_is_refused_wherever_it_is() -> None:
    network = classifier(nn.Dropout(0.5))
    network[4].train()
    for refused in (network, nn.DataParallel(network)):
        for run in (ExactInference.of, trace, lambda each: DenseEvaluator(each, *pair())):
            with pytest.raises(NetworkError, match=r"in training mode: call \.eval\(\) first"):
                run(refused)
    assert network[4].training
    assert not network[0].training


def test_what_is_no_network_yet_is_refused() -> None:
    lazy = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2)).eval()
    with pytest.raises(NetworkError, match=r"parameter 2\.weight .* not initialized: call it"):
        ExactInference.of(lazy)
    with pytest.raises(NetworkError, match=r"must be a torch\.nn\.Module, got builtin_function"):
        ExactInference.of(torch.relu)  # type: ignore[arg-type]
    network = classifier()
    network.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(NetworkError, match=r"cannot be copied \(TypeError: .*lock"):
        ExactInference.of(network)
    assert DenseEvaluator(network, *pair(), batch_size=1)(PLAN).shape == (len(PLAN), 4)


class TwoInputs(nn.Module):
    """Needs a second input."""

    def forward(self, images: Tensor, ages: Tensor) -> Tensor:
        """Logits."""
        return images.mean((2, 3)) + ages


def test_a_failing_network_is_named_with_its_images() -> None:
    with pytest.raises(NetworkError, match=r"images of shape \(1, 3, 8, 8\): TypeError.*ages"):
        exact_evaluator(TwoInputs().eval(), *pair())
    with pytest.raises(NetworkError, match=r"fails on torch\.float32 images .*: RuntimeError"):
        exact_evaluator(classifier(), *pair(torch.float32))


class Overwriting(nn.Module):
    """Bounds its weights whenever it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(-2, 2, 4, dtype=torch.float64))

    def forward(self, logits: Tensor) -> Tensor:
        """Logits."""
        self.scale.data.clamp_(-1, 1)
        return logits * self.scale


class Renormalizing(nn.Conv2d):
    """Replaces its weight by a bounded one, as EEGNet's convolutions do."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Maps."""
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.1)
        return super().forward(input)


def test_parameters_are_never_overwritten() -> None:
    network = classifier(Overwriting())
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(NetworkError, match=r"overwrites its parameter 4\.scale whenever"):
        exact_evaluator(network, *pair())
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    network = classifier()
    network[0] = Renormalizing(3, 4, 3).double()
    before = copy.deepcopy(network.state_dict())
    image, baseline = pair()
    found = exact_evaluator(network.eval(), image, baseline, score=logit)(PLAN[:1])
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    np.testing.assert_allclose(found, network(image[None]).detach(), rtol=1e-12)


def test_parameters_without_numbers_share_memory_with_nothing() -> None:
    network = classifier(Lambda(lambda out: out + out.new_zeros(0).add_(1).sum()))
    network.nothing = nn.Parameter(torch.ones(0, dtype=torch.float64))
    assert_exact(network, starts="incremental")


def test_a_copy_needs_no_more_memory_than_its_buffers() -> None:
    network = classifier()
    private = ExactInference.of(network).network
    assert private is not network
    for ours, theirs in zip(private.parameters(), network.parameters(), strict=True):
        assert ours is not theirs
        assert ours.data_ptr() == theirs.data_ptr()


def test_images_are_not_overwritten_by_a_first_step_in_place() -> None:
    """One channel: a copy in another layout would be the image itself."""
    network = nn.Sequential(nn.ELU(inplace=True), *classifier(channels=1)).eval()
    assert_exact(network, starts="incremental")
    image, baseline = pair(channels=1)
    kept = image.clone()
    DenseEvaluator(network, image, baseline)(PLAN)
    torch.testing.assert_close(image, kept, rtol=0, atol=0)


def test_dense_evaluators_run_images_one_by_one_where_they_affect_each_other() -> None:
    network = classifier(Lambda(lambda out: out - out.mean(0) / 2))
    image, baseline = pair()
    found = DenseEvaluator(network, image, baseline, logit)(PLAN)
    expected = DenseEvaluator(network, image, baseline, logit, batch_size=1)(PLAN)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_examining_leaves_no_trace_in_a_network_that_is_run_as_it_is() -> None:
    class Widening(nn.Module):
        """Keeps the largest value that it saw."""

        largest: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("largest", torch.zeros(()))

        def forward(self, logits: Tensor) -> Tensor:
            self.largest.copy_(torch.maximum(self.largest, logits.amax()))
            return logits

    network = classifier(Widening())
    image, baseline = pair()
    DenseEvaluator(network, image, baseline, logit)(PLAN)
    assert network.get_buffer("4.largest") < 10
    assert_exact(network, starts="incremental")


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (lambda out: out + out.flip(0) * 1e-6, "the network treats images of a batch"),
        (lambda out: out + (out - 90).relu().softmax(0).log(), "the network treats images"),
        (lambda out: out / out.numel(), "the network treats images of a batch"),
        (
            lambda out: out * (1 + (out.mean() > 0.3)),
            "the network decides by comparing",
        ),
        (
            lambda out: out * (1 + out.lt(out.mean())),
            "the network decides by comparing",
        ),
        (lambda out: torch.where(out.ge(0), out, -out), "the network decides by comparing"),
    ],
)
def test_weak_and_rare_influence_of_a_batch_is_found(
    last: Callable[[Tensor], Tensor], reason: str
) -> None:
    assert_exact(classifier(Lambda(last)), starts=f"dense: {reason}")


def test_assertions_about_sizes_are_no_decisions() -> None:
    def last(logits: Tensor) -> Tensor:
        torch._assert(logits.size(1) == 4, "four classes")
        return logits * 2

    assert_exact(classifier(Lambda(last)), starts="incremental")


def quantized() -> nn.Module:
    network = classifier().float()
    return torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8).eval()


def exported() -> nn.Module:
    example = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    return torch.export.export(classifier(), (example,)).module()


def traced_by_jit() -> nn.Module:
    example = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    return torch.jit.trace(classifier(), example)


def compiled() -> nn.Module:
    return cast("nn.Module", torch.compile(classifier(), backend="eager"))


OTHER_FORMS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "exported": (exported, "dense: the network "),
    "traced by jit": (traced_by_jit, "dense: the network has TorchScript"),
    "scripted": (lambda: torch.jit.script(classifier()), "dense: the network has TorchScript"),
    "frozen": (lambda: torch.jit.freeze(torch.jit.script(classifier())), "dense: the network has"),
    "compiled": (compiled, "dense: the network cannot be traced"),
    "traced by fx": (lambda: torch.fx.symbolic_trace(classifier()), "incremental"),
    "parallel": (lambda: nn.DataParallel(classifier()).eval(), "incremental"),
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_networks_in_other_forms(form: str) -> None:
    build, starts = OTHER_FORMS[form]
    assert_exact(build(), starts=starts)


def test_networks_in_low_precision() -> None:
    """What windows compute is rounded alike; quantization by a batch's range is noticed."""
    assert_exact(quantized(), starts="dense: the network treats", tolerance=1e-4, dtype=torch.float)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.half, 1e-2), (torch.bfloat16, 1e-1)):
        network = classifier().to(dtype)
        assert_exact(network, starts="incremental", tolerance=tolerance, dtype=dtype)


def test_hooks_on_all_modules_are_seen() -> None:
    network = classifier()
    handle = register_module_forward_hook(lambda module, read, out: out * 1.5)
    try:
        assert_exact(network, starts="dense: the network has forward hooks (on Sequential)")
    finally:
        handle.remove()


def test_a_replaced_method_of_torch_shows_in_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    original = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, maps: original(self, maps) * 1.5)
    starts = "dense: incremental inference gives other logits"
    assert_exact(classifier(), starts=starts)
    assert_exact(classifier(Lambda(lambda out: out.exp())), starts=starts)


def test_maps_of_different_sizes_are_not_joined_in_windows() -> None:
    class Broadcasting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole, self.local = nn.Conv2d(3, 4, 8), nn.Conv2d(3, 4, 3)
            self.last = nn.Conv2d(4, 2, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.last(self.local(images) + self.whole(images)).mean((2, 3))

    network = Broadcasting().double().eval()
    assert_exact(network, starts="dense: maps of different sizes are joined")


class Joined(nn.Module):
    """Views two maps of one channel as one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.last = nn.Linear(128, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        maps = torch.cat([self.first(images), self.second(images)], 1)
        return self.last(maps.view(maps.size(0), -1))


def test_views_of_maps_work_whatever_the_layout_of_windows() -> None:
    assert_exact(Joined().double().eval(), starts="incremental")
    permuted = Lambda(lambda maps: maps.permute(0, 2, 3, 1).view(maps.size(0), -1))
    network = nn.Sequential(nn.Conv2d(3, 4, 3), permuted, nn.Linear(144, 4)).double().eval()
    network.to(memory_format=torch.channels_last)
    assert_exact(network, starts="dense: what follows windows fails: RuntimeError: view size")


def test_images_reach_the_network_contiguous() -> None:
    """An image from (height, width, channels), as image libraries give it."""
    viewed = Lambda(lambda images: images.view(images.size(0), -1))
    network = nn.Sequential(viewed, nn.Linear(192, 4)).double().eval()
    image, baseline = (each.permute(1, 2, 0).contiguous().permute(2, 0, 1) for each in pair())
    found = exact_evaluator(network, image, baseline, score=logit)(PLAN)
    expected = exact_evaluator(network, image.contiguous(), baseline.contiguous(), score=logit)
    np.testing.assert_array_equal(found, expected(PLAN))


class Doubled(Tensor):
    """A weight of another type, such as a quantized one: convolutions use it twofold."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run a function of torch."""
        result = super().__torch_function__(func, types, args, kwargs)
        return result.as_subclass(Tensor) * 2 if func is torch.conv2d else result


def test_weights_of_other_types_are_left_to_the_network() -> None:
    network = classifier()
    weight = network.get_parameter("0.weight").detach().as_subclass(Doubled)
    network[0].weight = nn.Parameter(weight)
    assert_exact(network, starts="dense: no convolution comes before")


def test_tracing_alone_refuses_what_it_cannot_see() -> None:
    hooked = classifier()
    hooked[0].register_forward_hook(lambda module, read, out: out * 2)
    with pytest.raises(OpaqueNetworkError, match=r"forward hooks \(on Conv2d 0\)"):
        trace(hooked)
    unnormalized = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), *classifier()).eval()
    with pytest.raises(UntraceableError, match="no convolution comes before"):
        trace(unnormalized)


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - {"caption_bert"}))
def test_our_own_networks_run_in_batches(name: str) -> None:
    network = BUILDERS[name](num_classes=3, image_size=64, width=0.1, dropout=0.1).eval()
    image, baseline = torch.randn(2, 3, 64, 64)
    evaluator = exact_evaluator(network, image, baseline)
    assert "one by one" not in evaluator.inference


def test_networks_of_known_operations_are_called_twice_only() -> None:
    calls = []

    class Watched(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
            calls.append(len(input))
            return super().forward(input)

    network = classifier()
    inference = ExactInference.of(network)
    assert inference.traced is not None
    assert inference.traced.separate
    inference.network[0].__class__ = Watched  # type: ignore[index]
    for _ in range(2):
        evaluator = inference.evaluator(*pair())
        evaluator(PLAN)
        evaluator(RegionMasking(np.eye(3, dtype=bool), np.arange(64).reshape(8, 8) % 3))
    assert calls == [1, 1, 3, 3]  # what it says and how much memory that takes; no rectangles
    assert not trace(classifier(Lambda(lambda out: out - out.mean(0)))).separate


def test_images_and_baselines_have_one_shape() -> None:
    image, baseline = pair()
    for wrong in ((image[None], baseline[None]), (image, baseline[:, :1, :1])):
        with pytest.raises(ValueError, match=r"one shape \(C, H, W\), got \("):
            exact_evaluator(classifier(), *wrong)
