"""What the device can do at most: by its data sheet, and in a large matrix product."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from card.subject import Precision, Subject, float32_as

DATA_SHEETS: dict[str, dict[Precision, float]] = {
    "B200": {"fp32": 75, "tf32": 1100, "bf16": 2250},
    "H200": {"fp32": 67, "tf32": 494, "bf16": 989},
    "H100 PCIe": {"fp32": 51, "tf32": 378, "bf16": 756},
    "H100": {"fp32": 67, "tf32": 494, "bf16": 989},
    "A100": {"fp32": 19.5, "tf32": 156, "bf16": 312},
    "L40S": {"fp32": 91.6, "tf32": 183, "bf16": 362},
    "L4": {"fp32": 30.3, "tf32": 60, "bf16": 121},
    "A10G": {"fp32": 31.5, "tf32": 35, "bf16": 70},
    "A10": {"fp32": 31.2, "tf32": 62.5, "bf16": 125},
    "RTX 4090": {"fp32": 82.6, "tf32": 82.6, "bf16": 165},
    "RTX 3090": {"fp32": 35.6, "tf32": 35.6, "bf16": 71},
}
"""Dense TFLOP/s, by a part of the name that CUDA reports; the first that fits counts."""
PRODUCTS = 5


@dataclass(frozen=True)
class Peak:
    """TFLOP/s of one precision.

    Attributes:
        measured: in a large matrix product, in this process.
        data_sheet: the vendor's figure, where the device is known.
    """

    measured: float
    data_sheet: float | None

    def share(self, flops_per_s: float) -> float:
        """Share of the measured peak."""
        return flops_per_s / 1e12 / self.measured


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def peaks(subject: Subject) -> dict[Precision, Peak]:
    sheet = data_sheet(device_name(subject.device))
    return {each: Peak(product(subject, each), sheet.get(each)) for each in subject.precisions}


def data_sheet(name: str) -> dict[Precision, float]:
    """TFLOP/s of a device by its name; empty if it is not known."""
    return next((found for part, found in DATA_SHEETS.items() if part in name), {})


def product(subject: Subject, precision: Precision) -> float:
    """TFLOP/s of a square matrix product of random numbers."""
    side, dtype = subject.size.matmul, torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=subject.device).to(dtype) for _ in range(2))

    def run() -> None:
        for _ in range(PRODUCTS):
            left @ right

    with float32_as(precision):
        return 2 * side**3 * PRODUCTS / subject.seconds(run) / 1e12
