"""The JSON of the service's replies."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from ier_ray.data.schema import Domain
from ier_ray.explain.dncshap import Explanation
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.records import DESCRIBED, SIDES, ExplanationRecord, Prediction
from ier_ray.serve.answers import Answer, Predicted
from ier_ray.serve.errors import Problem


class Health(BaseModel):
    """Reply of /healthz."""

    status: Literal["ok"]


class ModelList(BaseModel):
    """The names of the networks that are served."""

    models: list[Domain]


class ModelReady(BaseModel):
    """Whether a network can be used."""

    name: Domain
    ready: bool


class ModelInfo(ModelReady):
    """A served network."""

    model_config = DESCRIBED

    architecture: str
    image_size: int
    """Side of the network's input in pixels."""
    normalization: str
    scheme: str
    classes: list[str]
    epoch: int
    metrics: dict[str, float]
    """Validation metrics of the checkpoint."""
    weights_sha256: str


class PredictionReply(Prediction):
    """Class probabilities of one image."""

    weights_sha256: str
    """Hash of the weights that computed it."""


class Refused(BaseModel):
    """In the place of an image that could not be served."""

    error: Problem


class PredictionList(BaseModel):
    """Class probabilities of several images, in their order."""

    model_config = DESCRIBED

    predictions: list[Prediction | Refused]
    weights_sha256: str
    """Hash of the weights that computed them."""


class TreeRegion(BaseModel):
    """A region and its credit. Pixels of the network's input; bottom and right are exclusive."""

    top: int
    bottom: int
    left: int
    right: int
    value: float


class TreeLevel(BaseModel):
    """The regions that divide the image at a level of the tree."""

    model_config = DESCRIBED

    level: int
    """Number of halvings; 0 is the whole image."""
    regions: list[TreeRegion]


class Cost(BaseModel):
    """What an explanation has cost; scores that the service knew already cost nothing."""

    model_config = DESCRIBED

    rows: int
    """Masked images scored for it."""
    macs: float
    """Multiply-accumulates."""
    seconds: float
    """From its beginning in the explainer to this reply, waiting included."""


class ExplanationReply(ExplanationRecord):
    """An explanation of one class of an image."""

    network: Domain
    complete: bool
    """False if the deadline passed before the last level: these are the levels that were
    finished."""
    weights_sha256: str
    """Hash of the weights that computed it."""
    levels: list[TreeLevel]
    """The tree from the whole image to the leaves; the credits of each level sum to full - empty,
    but for variant paper."""
    cost: Cost

    @classmethod
    def of_answer(cls, answer: Answer) -> ExplanationReply:
        """The reply of an answer."""
        record = ExplanationRecord.of(
            answer.explanation, answer.settings, answer.scheme, answer.target
        )
        index = answer.scheme.index(record.target)
        spent = answer.spent
        return cls(
            **dict(record),
            network=answer.network,
            complete=answer.complete,
            weights_sha256=answer.weights_sha256,
            levels=levels_of(answer.explanation, index),
            cost=Cost(rows=spent.rows, macs=spent.macs, seconds=answer.seconds),
        )


class CostReply(BaseModel):
    """What an explanation would cost at most, by what this service has measured."""

    model_config = DESCRIBED

    network: Domain
    settings: ExplainerSettings
    """Of the explanation: the request's parameters over the service's."""
    evaluations: int
    """Masked images, at most."""
    macs: float
    """Multiply-accumulates, at most."""
    seconds: float
    """Predicted duration on an idle explainer."""
    wait_s: float
    """Predicted seconds of work that is before it now."""
    admitted: bool
    """Whether the service would compute it now."""
    refusal: Problem | None = None
    """What it would reply otherwise."""
    weights_sha256: str

    @classmethod
    def of(cls, predicted: Predicted, path: str) -> CostReply:
        """The reply to the request of a path."""
        refusal = predicted.refusal
        return cls(
            network=predicted.network,
            settings=predicted.settings,
            evaluations=predicted.evaluations,
            macs=predicted.macs,
            seconds=predicted.seconds,
            wait_s=predicted.wait_s,
            admitted=refusal is None,
            refusal=None if refusal is None else refusal.problem(path),
            weights_sha256=predicted.weights_sha256,
        )


class ExplanationList(BaseModel):
    """Explanations of several images, or their costs, in their order."""

    predictions: list[ExplanationReply | CostReply | Refused]


def levels_of(explanation: Explanation, target: int) -> list[TreeLevel]:
    """The regions that divide the image at each level, with the credits of a class."""
    tree = explanation.tree
    return [
        TreeLevel(
            level=level,
            regions=[
                TreeRegion(**dict(zip(SIDES, sides, strict=True)), value=value)
                for sides, value in zip(
                    tree.rectangles[nodes].tolist(),
                    explanation.credits[nodes, target].tolist(),
                    strict=True,
                )
            ],
        )
        for level in range(tree.depth + 1)
        for nodes in [tree.at(level)]
    ]
