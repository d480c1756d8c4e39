"""Checks and figures of one device, without Ray: training step, prediction, explanation.

The paper's network at 224 pixels on a CUDA card; with --quick a small one, on the CPU as well.
First the checks: incremental inference equals dense, explanations that share batches equal each
one's own, predictions and a training step equal the CPU's in float64, batches are halved when
memory runs out. TF32 is off for them; TF32's and bfloat16's errors are reported. A failed check
ends the script with status 1, after the figures.

Then the figures: images/s of the joint step at batch 16 and, doubled, up to the largest that fits;
predictions/s and explanations/s; each with the floating-point operations executed per second
(convolutions and products, no other) as a share of what a large matrix product in the same
precision reaches in the same run, beside the data sheet's peak. Then the share of an explanation in
which the device waits for the host, and the constants that the code has for the device beside what
is measured. The last line is everything as JSON.

Needs no installation, no network and no Ray: `python benchmarks/gpu.py` in a copy of the
repository, with Python >= 3.11 and the packages torch, torchvision, numpy, scipy, pillow, pydantic,
PyYAML, safetensors, and, imported but not used here, pyarrow, boto3 and tqdm. Training the paper's
pair takes about 12 GiB of the card's memory.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # a bare machine has not installed the package

from card.checks import Check, checks
from card.constants import Constant, constants
from card.figures import Figure, Peaks, Training, explanations, predictions
from card.hosting import HostTime, host_time
from card.peaks import device_name, peaks
from card.subject import PAPER, QUICK, Subject


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small network, under 60 s")
    parser.add_argument("--device", help="cpu or cuda; by default a CUDA card if there is one")
    arguments = parser.parse_args()
    available = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(arguments.device or available)
    if device.type == "cpu" and not arguments.quick:
        parser.error("the paper's size needs a CUDA card; on the CPU use --quick")
    if device.type == "cpu":
        torch.set_num_threads(1)
    logging.getLogger("ier_ray").setLevel(logging.ERROR)  # memory runs out on purpose
    subject = Subject.of(QUICK if arguments.quick else PAPER, device)
    found = checks(replace(subject))  # a copy, whose networks on the device go with it
    report_checks(device, found)
    reached = peaks(subject)
    report_peaks(reached)
    explaining = replace(subject)
    report_figures_head()
    figures = [shown(each) for each in predictions(explaining, reached)]
    figures += [shown(each) for each in explanations(explaining, reached)]
    hosts = [host_time(explaining, each) for each in subject.precisions]
    report_hosts(hosts)
    values = constants(explaining)
    report_constants(values)
    del explaining  # training needs the memory
    subject.free()
    training = Training(subject)
    report_figures_head()
    figures += [shown(each) for each in training.figures(reached)]
    record = {
        "device": device_name(device),
        "torch": torch.__version__,
        "checks": [asdict(each) for each in found],
        "failed": [each.name for each in found if each.failed],
        "peaks": {precision: asdict(peak) for precision, peak in reached.items()},
        "figures": [each.record() for each in figures],
        "host": [each.record() for each in hosts],
        "constants": [each.record() for each in values],
        "training_ended": training.ended,
    }
    print(json.dumps(record))
    if record["failed"]:
        raise SystemExit(1)


def report_peaks(reached: Peaks) -> None:
    print(f"\n{'peak, TFLOP/s':<28}{'product':>10}{'data sheet':>12}")
    for precision, peak in reached.items():
        sheet = "unknown" if peak.data_sheet is None else f"{peak.data_sheet:g}"
        print(f"{precision:<28}{peak.measured:>10.2f}{sheet:>12}", flush=True)


def report_figures_head() -> None:
    print(f"\n{'':<34}{'at once':>8}{'per s':>10}{'TFLOP/s':>10}{'share':>8}{'MiB':>9}")


def shown(figure: Figure) -> Figure:
    """The figure, printed as soon as it is known."""
    memory = "" if figure.peak_mib is None else f"{figure.peak_mib:.0f}"
    print(
        f"{figure.what:<28}{figure.precision:<6}{figure.count:>8}{figure.per_s:>10.2f}"
        f"{figure.tflops:>10.3f}{figure.share:>8.1%}{memory:>9}",
        flush=True,
    )
    return figure


def report_checks(device: torch.device, found: Sequence[Check]) -> None:
    print(f"{device_name(device)}, torch {torch.__version__}")
    print(f"{'check':<42}{'error':>10}{'allowed':>10}")
    for check in found:
        allowed = "" if check.tolerance is None else f"{check.tolerance:.0e}"
        verdict = "  FAILED" if check.failed else ""
        print(f"{check.name:<42}{check.error:>10.1e}{allowed:>10}{verdict}", flush=True)


def report_hosts(hosts: Sequence[HostTime]) -> None:
    columns = ("kernels", "copies", "idle", "positions")
    print(f"\n{'explanation':<16}{'seconds':>9}{'launches':>10}", end="")
    print("".join(f"{name:>11}" for name in columns))
    for host in hosts:
        shares = [getattr(host, name) for name in columns]
        cells = ["" if share is None else f"{share:.1%}" for share in shares]
        print(f"{host.precision:<16}{host.seconds:>9.3f}{host.launches or '':>10}", end="")
        print("".join(f"{cell:>11}" for cell in cells))


def report_constants(values: Sequence[Constant]) -> None:
    print(f"\n{'constant':<28}{'in code':>12}{'measured':>12}   seconds by value")
    for value in values:
        by_value = ", ".join(f"{key:.3g}: {found:.4g}" for key, found in value.seconds.items())
        print(f"{value.name:<28}{value.in_code:>12.3g}{value.measured:>12.3g}   {by_value}")


if __name__ == "__main__":
    main()
