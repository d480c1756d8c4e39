"""Folders of images that are told apart by their colors, and what sources make of them."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from ier_ray.data.images import decode_rgb
from ier_ray.data.sources import Listed, Skipped, Source

Color = tuple[int, int, int]


def color_of(number: int) -> Color:
    return (10 + number, 200 - 3 * number, 7 * number % 256)


def encoded(color: Color, suffix: str = ".png") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), color).save(buffer, format=Image.registered_extensions()[suffix])
    return buffer.getvalue()


def paint(root: Path, *paths: str) -> dict[str, Color]:
    """Write an image of its own color at every path (JPEG keeps plain colors within 3)."""
    colors = {}
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(color_of(number), file.suffix.lower()))
        colors[path] = color_of(number)
    return colors


def litter(root: Path, *folders: str) -> None:
    """What archivers and desktops leave behind, none of it a sample."""
    for folder in folders:
        shutil.copytree(root / folder, root / "__MACOSX" / folder)
        for file in list((root / folder).iterdir()):
            shutil.copy(file, file.with_name(f"._{file.name}"))
        (root / folder / ".DS_Store").write_bytes(b"\0")
        (root / folder / "Thumbs.db").write_bytes(b"\0")


def samples_of(source: Source) -> list[Listed]:
    """The samples that a source of one domain lists."""
    (domain,) = source.domains
    return [entry for entry in source.list(domain) if isinstance(entry, Listed)]


def skipped_of(source: Source) -> dict[str, str]:
    """Why each file was skipped, by its path."""
    (domain,) = source.domains
    skipped = [entry for entry in source.list(domain) if isinstance(entry, Skipped)]
    assert all(entry.sample_id.startswith(f"{source.name}/") for entry in skipped)
    found = {e.sample_id.removeprefix(f"{source.name}/"): e.reason for e in skipped}
    assert len(found) == len(skipped)
    return dict(found)


def listing(source: Source) -> list[tuple[str, str, str]]:
    """Id without the dataset's name, label and group of all samples."""
    samples = samples_of(source)
    assert samples == samples_of(source)  # stable
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 (our own)
    assert len({sample.sample_id for sample in samples}) == len(samples)
    assert all(sample.sample_id.startswith(f"{source.name}/") for sample in samples)
    return [(s.sample_id.removeprefix(f"{source.name}/"), s.source_label, s.group) for s in samples]


def colors(source: Source) -> dict[str, Color]:
    """The color of each loaded image, by id; loaded by a copy, as a worker would."""
    (domain,) = source.domains
    worker = pickle.loads(pickle.dumps(source))  # noqa: S301 (our own)
    found = {}
    for sample in samples_of(source):
        pixels = np.asarray(decode_rgb(worker.load(domain, sample).image)).reshape(-1, 3)
        assert (pixels == pixels[0]).all()
        red, green, blue = map(int, pixels[0])
        found[sample.sample_id.removeprefix(f"{source.name}/")] = (red, green, blue)
    return found


def assert_same_colors(found: dict[str, Color], painted: dict[str, Color]) -> None:
    assert found.keys() == painted.keys()
    for path, color in painted.items():
        np.testing.assert_allclose(found[path], color, rtol=0, atol=3, err_msg=path)


def sample_of(source: Source, ending: str) -> Listed:
    return next(s for s in samples_of(source) if s.sample_id.endswith(ending))


def own(sample_id: str, name: str) -> str:
    """The group of a sample that is its own group."""
    return f"{name}/{sample_id}"
