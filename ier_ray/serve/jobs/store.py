"""What jobs keep beside their records: uploads, scores and explanations, by their content.

    uploads/SHA256                    an image file as it came
    scores/IMAGE/KEY-DIGEST.npz       masked images of an image that an explanation has scored
    explanations/KEY.npz              a finished explanation
    explanations/KEY.levels.npz       one that is not finished

Equal requests have equal keys, so what one job has computed is there for all. Every file is written
whole or not at all; scores come before the explanation that they are needed for, and tell what it
had cost until then, so that no cost is lost between the two.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ier_ray import storage
from ier_ray.config import Settings
from ier_ray.data.schema import Domain
from ier_ray.emotions import EmotionScheme
from ier_ray.explain.engine import Scored, Spent
from ier_ray.explain.rendering import from_npz, to_npz
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.serve.answers import Answer
from ier_ray.serve.jobs.records import JobSpec

UPLOADS, SCORES, EXPLANATIONS = "uploads", "scores", "explanations"
FINAL, LEVELS = ".npz", ".levels.npz"
ALGORITHM = 1
"""Raised when equal requests get other explanations than before: what is kept is not used then."""
MOST_ROWS = 2**18
"""Scores of an image that are given to an explainer; it computes others again."""


class Meta(Settings):
    """What an answer has beside arrays."""

    network: Domain
    settings: ExplainerSettings
    target: str | None
    scheme: str
    classes: tuple[str, ...]
    weights_sha256: str
    rows: int
    macs: float
    seconds: float
    complete: bool
    final: bool


@dataclass(frozen=True)
class JobStore:
    """Files of jobs.

    Args:
        location: directory or s3:// URI.
        weights_sha256: hash of the weights that explain.
        adjust_prior: whether they explain probabilities shifted to the frequencies of classes.
    """

    location: str
    weights_sha256: str
    adjust_prior: bool

    def keep_upload(self, encoded: bytes) -> str:
        """Write an image file; its SHA-256."""
        digest = hashlib.sha256(encoded).hexdigest()
        target = self._path(UPLOADS, digest)
        if not storage.exists(target):
            storage.write_bytes(target, encoded)
        return digest

    def upload(self, digest: str) -> bytes:
        """An image file."""
        return storage.read_bytes(self._path(UPLOADS, digest))

    def key(self, spec: JobSpec, upload: str) -> str:
        """Of the explanation of an image: equal for equal explanations."""
        return self._digest(upload, spec.network, spec.settings.model_dump_json(), spec.target)

    def scores_key(self, spec: JobSpec, upload: str) -> str:
        """Equal for explanations whose masked images have equal scores."""
        settings = spec.settings
        return self._digest(upload, spec.network, settings.baseline, settings.precision)

    def keep_scored(
        self, scores_key: str, key: str, scored: Sequence[Scored], spent: Spent
    ) -> None:
        """Write scores of masked images.

        Args:
            key: of the explanation that needed them.
            spent: what it has cost so far, with them.
        """
        rows = [row for part in scored for row in part.keys]
        if not rows:
            return
        keys = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
        logits = np.concatenate([part.logits for part in scored])
        content = zipped(keys=keys, logits=logits, spent=np.array([spent.rows, spent.macs]))
        digest = hashlib.sha256(keys.tobytes() + logits.tobytes()).hexdigest()
        storage.write_bytes(self._path(SCORES, scores_key, f"{key}-{digest}.npz"), content)

    def scored(self, scores_key: str, key: str) -> tuple[tuple[Scored, ...], Spent]:
        """Scores that are kept of an image's masked versions, and what an explanation has cost.

        Args:
            key: of the explanation; its own scores come first, up to :data:`MOST_ROWS` of all.
        """
        directory = self._path(SCORES, scores_key)
        if not storage.exists(directory):
            return (), Spent()
        found: list[Scored] = []
        spent, rows = Spent(), 0
        for name in sorted(storage.list_files(directory), key=lambda name: not is_of(key, name)):
            if rows >= MOST_ROWS and not is_of(key, name):
                break
            with np.load(io.BytesIO(storage.read_bytes(storage.join(directory, name)))) as arrays:
                if is_of(key, name) and arrays["spent"][0] > spent.rows:
                    spent = Spent(int(arrays["spent"][0]), float(arrays["spent"][1]))
                if rows < MOST_ROWS:
                    found.append(
                        Scored([row.tobytes() for row in arrays["keys"]], arrays["logits"])
                    )
                    rows += len(found[-1].keys)
        return tuple(found), spent

    def keep_answer(self, key: str, answer: Answer) -> None:
        """Write an explanation, as far as it is finished."""
        meta = Meta(
            network=answer.network,
            settings=answer.settings,
            target=answer.target,
            scheme=answer.scheme.name,
            classes=answer.scheme.classes,
            weights_sha256=answer.weights_sha256,
            rows=answer.spent.rows,
            macs=answer.spent.macs,
            seconds=answer.seconds,
            complete=answer.complete,
            final=answer.final,
        )
        content = zipped(
            explanation=np.frombuffer(to_npz(answer.explanation), np.uint8),
            pixels=answer.pixels,
            meta=np.array(meta.model_dump_json()),
        )
        levels = self._path(EXPLANATIONS, key + LEVELS)
        if not answer.final:
            storage.write_bytes(levels, content)
            return
        storage.write_bytes(self._path(EXPLANATIONS, key + FINAL), content)
        storage.delete_file(levels)

    def answer(self, key: str) -> Answer | None:
        """An explanation, as far as it is finished; None if nothing is."""
        for ending in (FINAL, LEVELS, FINAL):  # it may be finished between the first two
            location = self._path(EXPLANATIONS, key + ending)
            if storage.exists(location):
                return answer_in(storage.read_bytes(location))
        return None

    def names_of(self, spec: JobSpec) -> set[str]:
        """What the files of a job belong to: its uploads and its keys."""
        uploads = {each for each in spec.uploads if isinstance(each, str)}
        keys = {key(spec, each) for each in uploads for key in (self.key, self.scores_key)}
        return uploads | keys

    def kept(self) -> list[tuple[str, str]]:
        """What is kept: names, as of :meth:`names_of`, each with its location."""
        found = []
        for kind in (UPLOADS, SCORES, EXPLANATIONS):
            location = self._path(kind)
            if storage.exists(location):
                list_all = storage.list_directories if kind == SCORES else storage.list_files
                found += [
                    (each.partition(".")[0], storage.join(location, each))
                    for each in list_all(location)
                ]
        return found

    def delete(self, location: str) -> None:
        """Delete what :meth:`kept` has found."""
        if location.startswith(self._path(SCORES)):
            storage.delete_directory(location)
        else:
            storage.delete_file(location)

    def _digest(self, *parts: str | None) -> str:
        content = json.dumps([ALGORITHM, self.weights_sha256, self.adjust_prior, *parts])
        return hashlib.sha256(content.encode()).hexdigest()

    def _path(self, *parts: str) -> str:
        return storage.join(self.location, *parts)


def is_of(key: str, name: str) -> bool:
    """Whether a file of scores was written for an explanation."""
    return name.startswith(key)


def zipped(**arrays: Any) -> bytes:
    """Arrays as a compressed npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def answer_in(content: bytes) -> Answer:
    """The answer of a file."""
    with np.load(io.BytesIO(content)) as arrays:
        meta = Meta.model_validate_json(str(arrays["meta"]))
        explanation = from_npz(arrays["explanation"].tobytes())
        pixels = arrays["pixels"]
    return Answer(
        explanation=explanation,
        pixels=pixels,
        network=meta.network,
        settings=meta.settings,
        target=meta.target,
        scheme=EmotionScheme(meta.scheme, meta.classes),
        weights_sha256=meta.weights_sha256,
        spent=Spent(meta.rows, meta.macs),
        seconds=meta.seconds,
        complete=meta.complete,
        final=meta.final,
    )
