"""What the service is configured with, and what it answers."""

from pydantic import BaseModel, Field

from ier_ray.config import Settings
from ier_ray.explain.anytime import FirstAxis
from ier_ray.explain.baselines import Baseline
from ier_ray.explain.dncshap import Contexts, Variant
from ier_ray.inference import ExplainerSettings, Precision, Score


class AppArgs(Settings):
    """Arguments of the application in serve_config.yaml."""

    checkpoint: str
    """Checkpoint directory or s3:// URI that every node can read."""
    explain_workers: int = Field(2, ge=1)
    """Actors in the DnCShap pool."""
    explain_worker_cpus: float = Field(0.5, gt=0)
    """CPUs of each."""
    explain_worker_gpus: float = Field(0.0, ge=0)
    """GPUs of each."""
    max_batch_size: int = Field(16, ge=1)
    """Predictions joined into one forward pass."""
    batch_wait_s: float = Field(0.02, ge=0)
    """How long a prediction waits for others to join."""
    max_upload_bytes: int = Field(10_000_000, ge=1)
    """Largest image accepted, encoded."""
    max_upload_pixels: int = Field(50_000_000, ge=1)
    """Largest image accepted, decoded."""
    max_depth: int = Field(10, ge=0, le=14)
    """Deepest explanation served; each level doubles the work."""
    explainer: ExplainerSettings = ExplainerSettings()
    """Defaults of explanations; a request may override them."""


class Health(BaseModel):
    """Answer of /healthz."""

    status: str


class ModelInfo(BaseModel):
    """Answer of /v1/models/ier."""

    name: str
    architecture: str
    image_size: int
    normalization: str
    scheme: str
    classes: list[str]
    epoch: int
    metrics: dict[str, float]
    weights_sha256: str


class Prediction(BaseModel):
    """Answer of :predict."""

    label: str
    probability: float
    probabilities: dict[str, float]


class ExplainQuery(BaseModel, extra="forbid"):
    """Query of :explain; what is not given is as the service is configured."""

    target: str | None = Field(None, description="class; default: the predicted")
    depth: int | None = Field(None, ge=0, description="halvings of the image")
    contexts: Contexts | None = None
    score: Score | None = None
    baseline: Baseline | None = Field(None, description="black, mean, blur, inpaint, or #rrggbb")
    variant: Variant | None = Field(None, description="proportional: sharp maps, contexts present")
    tolerance: float | None = Field(None, ge=0, description="regions with less credit stay whole")
    budget: int | None = Field(
        None, ge=2, description="most masked images; beyond the tree's they refine it"
    )
    first_axis: FirstAxis | None = Field(None, description="of the first halving; both: the mean")
    precision: Precision | None = None


class Leaf(BaseModel):
    """A region and its credit. Pixels of the network's input; bottom and right are exclusive."""

    top: int
    bottom: int
    left: int
    right: int
    value: float
    deviation: float | None = None
    """Standard deviation of the value, where a budget refined it."""


class ExplanationReply(BaseModel):
    """Answer of :explain."""

    target: str
    prediction: Prediction
    image_size: int
    full: float
    """Score of the image."""
    empty: float
    """Score of the baseline."""
    efficiency_gap: float
    """Sum of the leaf values − (full − empty)."""
    evaluations: int
    inference: str
    """How the scores came about: incremental, or dense and why."""
    settings: ExplainerSettings
    leaves: list[Leaf]


class ErrorReply(BaseModel):
    """Body of every 4xx and 5xx answer of our own."""

    error: str
    detail: str
