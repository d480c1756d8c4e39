"""Replies of the service, as ``ier_ray.serve.records`` has them; free of torch and NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Network = Literal["fer", "ier"]
"""fer reads facial expressions, ier whole images."""
JobState = Literal["waiting", "running", "finished", "failed", "cancelled"]
ENDED: frozenset[JobState] = frozenset({"finished", "failed", "cancelled"})


class Record(BaseModel):
    """What a reply contains; what newer services add is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Problem(Record):
    """Why something was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    """HTTP status."""
    detail: str
    """What was wrong, and what to do."""
    instance: str
    """The request's path; of one image among several, with its place after ``#``."""
    error: str
    """A word that does not change, to count by."""


class Refused(Record):
    """In the place of an image that could not be served."""

    error: Problem


class ModelInfo(Record):
    """A served network."""

    name: Network
    ready: bool
    architecture: str
    image_size: int
    """Side of the network's input in pixels."""
    normalization: str
    scheme: str
    classes: tuple[str, ...]
    epoch: int
    metrics: Mapping[str, float]
    """Validation metrics of the checkpoint."""
    weights_sha256: str


class Prediction(Record):
    """Class probabilities of an image."""

    label: str
    """The class of the highest probability."""
    probability: float
    probabilities: Mapping[str, float]


class PredictionReply(Prediction):
    """Class probabilities of one image, and what computed them."""

    weights_sha256: str
    """Hash of the weights."""


class PredictionList(Record):
    """Class probabilities of several images, in their order."""

    predictions: tuple[Prediction | Refused, ...]
    weights_sha256: str


class Leaf(Record):
    """A region and its credit. Pixels of the network's input; bottom and right are exclusive."""

    top: int
    bottom: int
    left: int
    right: int
    value: float
    deviation: float | None = None
    """Standard deviation of the value, if evaluations beyond the tree refined it."""
    spread: float | None = None
    """Standard deviation over several trees of the credit of the region's pixels."""


class TreeRegion(Record):
    """A region of a level and its credit, in the same pixels."""

    top: int
    bottom: int
    left: int
    right: int
    value: float


class TreeLevel(Record):
    """The regions that divide the image at a level of the tree."""

    level: int
    """Number of halvings; 0 is the whole image."""
    regions: tuple[TreeRegion, ...]


class Cost(Record):
    """What an explanation has cost; scores that the service knew already cost nothing."""

    rows: int
    """Masked images scored for it."""
    macs: float
    """Multiply-accumulates."""
    seconds: float
    """From its beginning in the explainer to this reply, waiting included."""


class Explanation(Record):
    """An explanation of one class of an image."""

    target: str
    """The explained class."""
    prediction: Prediction
    """Of the unmasked image."""
    image_size: int
    """Side of the network's input in pixels, which regions are measured in."""
    full: float
    """Score of the image."""
    empty: float
    """Score of the baseline."""
    efficiency_gap: float
    """Sum of the leaf values − (full − empty)."""
    evaluations: int
    """Masked images scored."""
    inference: str
    """How the scores were computed."""
    settings: Mapping[str, Any]
    """Of the explanation; the names are those of :class:`ier_ray.client.parameters.Parameters`."""
    leaves: tuple[Leaf, ...]
    network: Network
    complete: bool
    """False if the deadline passed before the last level: these are the levels that were
    finished."""
    weights_sha256: str
    """Hash of the weights that computed it."""
    levels: tuple[TreeLevel, ...]
    """The tree from the whole image to the leaves."""
    cost: Cost


class PredictedCost(Record):
    """What an explanation would cost at most, by what the service has measured."""

    network: Network
    settings: Mapping[str, Any]
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


class ExplanationList(Record):
    """Explanations of several images, in their order."""

    predictions: tuple[Explanation | Refused, ...]


class Arrays(Record):
    """NumPy's arrays of an explanation: credits of all regions for all classes."""

    content: bytes
    """Of an npz file."""
    complete: bool
    """False if the deadline passed before the last level."""
    weights_sha256: str


class JobImage(Record):
    """One image of a job."""

    state: JobState
    level: int | None
    """The deepest level of its tree that is finished; levels are final."""
    rows: int
    """Masked images scored for it so far."""
    explanation: str | None
    """Path of what is finished of its explanation; None before the first level."""
    error: Problem | None = None
    """Why it failed."""


class Job(Record):
    """Explanations that the service computes whether or not a client is connected."""

    id: str
    state: JobState
    """failed: the service could not go on with it; where images alone have failed, they say why."""
    network: Network
    settings: Mapping[str, Any]
    """Of its explanations."""
    target: str | None
    """The class that was asked for; None: of each image the predicted one."""
    created: datetime
    ended: datetime | None
    images: tuple[JobImage, ...]


class JobList(Record):
    """Jobs of a client, the newest first."""

    jobs: tuple[Job, ...]
