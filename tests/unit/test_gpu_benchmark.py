"""benchmarks/gpu.py at a tiny size on the CPU: its checks pass, and notice what is wrong."""

from __future__ import annotations

from dataclasses import replace

import gpu
import pytest
import torch
from card import checks as checks_module
from card.checks import (
    Check,
    checks,
    engine_error,
    halving_error,
    incremental_checks,
    prediction_error,
    relative,
    step_checks,
)
from card.peaks import data_sheet
from card.subject import QUICK, Subject
from torch import nn

from ier_ray.explain.engine import shared
from ier_ray.explain.incremental import batch as batch_module
from ier_ray.training.step import DeviceBatch

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.of(replace(QUICK, depth=3, together=2, rounds=1), CPU)


def test_the_checks_pass(subject: Subject) -> None:
    found = {check.name: check for check in checks(subject)}
    assert not [check for check in found.values() if check.failed]
    assert [name for name, check in found.items() if check.tolerance is not None] == [
        "incremental = dense",
        "engine together = alone",
        "prediction = CPU in float64",
        "training loss = CPU in float64",
        "training gradients = CPU in float64",
        "training step = CPU in float64",
        "out of memory: halved batches = whole",
    ]
    for name in ("dense in bf16", "incremental in bf16"):  # it did run in bfloat16
        assert 1e-4 < found[name].error < 0.1


def test_other_weights_on_the_device_are_noticed(subject: Subject) -> None:
    other = replace(subject)
    first = other.recognizer.networks["ier"].features[0]  # type: ignore[index]
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight += 0.01
    assert prediction_error(other) > checks_module.TOLERANCE


def test_another_step_on_the_device_is_noticed(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = checks_module.step_batch

    def shifted(device: torch.device, dtype: torch.dtype) -> DeviceBatch:
        batch = exact(device, dtype)
        shift = 0.0 if dtype == torch.float64 else 0.01
        return batch._replace(fer_images=batch.fer_images + shift)

    monkeypatch.setattr(checks_module, "step_batch", shifted)
    assert all(check.failed for check in step_checks(subject))


def test_windows_without_their_changes_are_noticed(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "paste", lambda *_: None)
    assert [each.name for each in incremental_checks(subject) if each.failed] == [
        "incremental = dense"
    ]


def test_images_that_the_engine_confuses_are_noticed(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = shared.pairs_of
    monkeypatch.setattr(shared, "pairs_of", lambda portions: exact(portions)[::-1].copy())
    assert engine_error(replace(subject)) > checks_module.TOLERANCE


def test_memory_that_does_not_run_out_proves_nothing(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_module, "HUNGER", 0)
    with pytest.raises(SystemExit, match="did not run out of memory"):
        halving_error(subject)


@pytest.mark.parametrize(
    ("error", "tolerance", "failed"),
    [(1e-5, 1e-4, False), (1e-3, 1e-4, True), (float("nan"), 1e-4, True), (1.0, None, False)],
)
def test_a_check_fails_beyond_its_tolerance(
    error: float, tolerance: float | None, failed: bool
) -> None:
    assert Check("law", error, tolerance).failed == failed


def test_errors_are_relative_to_the_largest_value() -> None:
    expected = torch.tensor([4.0, 0.0]).double().numpy()
    assert relative(expected + 1, expected) == 0.25


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10G", 70),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
    ],
)
def test_data_sheets_are_found_by_name(name: str, tflops: float) -> None:
    assert data_sheet(name)["bf16"] == tflops


def test_unknown_devices_have_no_data_sheet() -> None:
    assert data_sheet("cpu, 2 threads") == {}


def test_the_papers_size_is_refused_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu.py", "--device", "cpu"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "on the CPU use --quick" in capsys.readouterr().err
