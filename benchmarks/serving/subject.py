"""What the servers predict: a network, pictures, and the serial reference."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from subjects.checkpoints import save_untrained

from ier_ray.config import parse_settings, read_settings_file
from ier_ray.data.synthetic import draw_scene
from ier_ray.emotions import FOUR
from ier_ray.inference import Recognizer
from ier_ray.training.settings import TrainSettings
from serving.contenders import ROOT
from serving.load import OK, Outcome

PICTURES = 32
TOLERANCE = 1e-5
"""Largest difference of a probability from the serial reference."""


@dataclass(frozen=True)
class Subject:
    """A checkpoint, encoded pictures, and the probabilities of each."""

    checkpoint: str
    threads: int
    """Of torch in every server: as many as are fastest."""
    images: tuple[bytes, ...]
    expected: NDArray[np.float64]
    """``(PICTURES, K)``, computed one picture at a time."""

    @classmethod
    def of(cls, config: str, *, threads: int, directory: Path) -> Subject:
        """The network of a training configuration, as drawn.

        Raises:
            SystemExit: when two pictures have the same probabilities.
        """
        source = str(ROOT / "configs" / f"{config}.yaml")
        model = parse_settings(TrainSettings, read_settings_file(source), source=source).model
        checkpoint = save_untrained(directory / "checkpoint", model, networks=("ier",))
        images = tuple(picture(number, model.image_size) for number in range(PICTURES))
        recognizer = Recognizer.load(checkpoint, device="cpu")
        decode = recognizer.manifest.preprocessing.decode
        expected = np.concatenate(
            [recognizer.probabilities(decode(image)[None]) for image in images]
        )
        apart = np.abs(expected[:, None] - expected).max(2) + np.eye(PICTURES)
        if apart.min() < 10 * TOLERANCE:
            raise SystemExit(f"{config}: two pictures differ by {apart.min():.1e} only")
        return cls(checkpoint, threads, images, expected)

    def wrong(self, outcome: Outcome) -> int:
        """Number of successful replies that do not say what the reference says of their picture."""
        return sum(
            not self._is_right(reply.number % PICTURES, json.loads(reply.body))
            for reply in outcome.replies
            if reply.status == OK
        )

    def _is_right(self, number: int, found: dict[str, object]) -> bool:
        expected = dict(zip(FOUR.classes, self.expected[number], strict=True))
        probabilities = found["probabilities"]
        return (
            isinstance(probabilities, dict)
            and probabilities.keys() == expected.keys()
            and all(abs(probabilities[name] - expected[name]) <= TOLERANCE for name in expected)
            and found["label"] == max(probabilities, key=probabilities.__getitem__)
        )


def picture(number: int, side: int) -> bytes:
    """A scene as JPEG, a quarter larger than the network's input, so that it must be resized."""
    scene = draw_scene(FOUR.classes[number % len(FOUR.classes)], size=side * 5 // 4, seed=number)
    buffer = io.BytesIO()
    Image.fromarray(scene.image).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
