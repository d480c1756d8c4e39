"""What an explainer is asked, and what it answers; free of Ray."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from ier_ray.data.images import Pixels
from ier_ray.data.schema import Domain
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DeadlineError, IerRayError
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.engine import Scored, Spent
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.serve.errors import RefusedError, complaint
from ier_ray.serve.schemas import AppArgs, ExplainParameters


@dataclass(frozen=True)
class ExplainRequest:
    """What a client asks for."""

    encoded: bytes | None
    """The uploaded image; None asks for the cost of any image's explanation."""
    network: Domain
    """Which network is explained."""
    parameters: ExplainParameters
    dry_run: bool = False
    """Whether only the cost is wanted."""
    levels: bool = False
    """Whether every level is wanted when it is finished."""
    within_s: float = float("inf")
    """Seconds after which the finished levels are the answer, if fewer than the service's."""
    for_job: bool = False
    """Whether a job asks: it may take a job's time, and new scores come with its answers."""
    known: tuple[Scored, ...] = ()
    """Masked images of the same image that were scored before, by the same weights."""
    weights_sha256: str | None = None
    """Hash of the weights that have to explain it; by default any."""
    adjust_prior: bool | None = None
    """Whether their probabilities have to be shifted to the frequencies of classes; by default as
    the explainer does."""


@dataclass(frozen=True)
class Accepted:
    """An explainer has the request."""


@dataclass(frozen=True)
class Admitted:
    """An explainer begins to compute."""

    seconds: float
    """Predicted, on an idle explainer."""


@dataclass(frozen=True)
class Answer:
    """An explanation, as far as it is finished, and who computed it."""

    explanation: Explanation
    pixels: Pixels
    """The network's input, ``(S, S, 3)``."""
    network: Domain
    settings: ExplainerSettings
    target: str | None
    """The class that was asked for."""
    scheme: EmotionScheme
    weights_sha256: str
    spent: Spent
    seconds: float
    """Since it was begun, waiting included."""
    complete: bool
    final: bool
    """Whether this is the last answer to the request."""
    scored: tuple[Scored, ...] = ()
    """For a job: masked images whose scores it has used since the answer before."""


@dataclass(frozen=True)
class Predicted:
    """What an explanation would cost, and whether it would be computed now."""

    network: Domain
    settings: ExplainerSettings
    evaluations: int
    """Most masked images."""
    macs: float
    """Most multiply-accumulates."""
    seconds: float
    """On an idle explainer."""
    wait_s: float
    """Seconds of work before it."""
    refusal: RefusedError | None
    weights_sha256: str


class Explainers(Protocol):
    """Whoever explains, in this process or in others."""

    def answers(self, request: ExplainRequest) -> AsyncGenerator[Answer | Predicted, None]:
        """The answers to a request; nothing more is computed when they are not taken any longer.

        Raises:
            RefusedError: when the request is not served.
        """


def failure(error: Exception) -> RefusedError:
    """What to reply when an explanation failed."""
    if isinstance(error, DeadlineError):
        return RefusedError(504, "deadline", str(error), retry_after_s=1.0)
    if isinstance(error, IerRayError):
        return RefusedError(503, "failed", str(error), retry_after_s=1.0)
    return RefusedError(500, "internal", "the explanation failed; the service's log says why")


def merged(parameters: ExplainParameters, args: AppArgs) -> ExplainerSettings:
    """The service's explainer settings, overridden by a request's.

    Raises:
        RefusedError: when the combined settings are invalid, or the depth is not served.
    """
    try:
        settings = parameters.over(args.explainer)
    except ValidationError as error:
        lines = "; ".join(complaint(dict(problem)) for problem in error.errors())
        raise RefusedError.parameter(lines) from error
    if settings.depth > args.max_depth:
        raise RefusedError.parameter(f"depth: must be <= {args.max_depth}, got {settings.depth}")
    return settings


def class_index(name: str | None, scheme: EmotionScheme) -> int | None:
    """The index of a class; None for None.

    Raises:
        RefusedError: when there is no class of that name.
    """
    if name is not None and name not in scheme.classes:
        known = ", ".join(scheme.classes)
        raise RefusedError.parameter(f"target: must be one of {known}, got {name!r}")
    return None if name is None else scheme.index(name)
