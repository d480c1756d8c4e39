"""The service's settings, query parameters and replies."""

from pydantic import BaseModel, Field, model_validator

from ier_ray.config import Settings
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.records import ExplanationRecord, Prediction


class AppArgs(Settings):
    """Arguments of the application in serve_config.yaml."""

    checkpoint: str
    """Checkpoint directory or s3:// URI that every node can read."""
    weights_sha256: str | None = None
    """Hash of the weights to serve; by default of those that the checkpoint has when the
    application is deployed. Replicas never load others, not even when files are replaced."""
    adjust_prior: bool = False
    """Shift probabilities from the class frequencies of training, which is balanced, to those of
    the validation part; explanations then explain the shifted ones."""
    max_batch_size: int = Field(16, ge=1)
    """Largest number of predictions in one forward pass."""
    max_queue_s: float = Field(1.0, gt=0)
    """Longest predicted wait of a prediction in seconds; beyond, requests get a 503."""
    max_upload_bytes: int = Field(10_000_000, ge=1)
    """Largest encoded image accepted, in bytes."""
    max_upload_pixels: int = Field(50_000_000, ge=1)
    """Largest decoded image accepted, in pixels."""
    max_decoding_pixels: int = Field(50_000_000, ge=1)
    """Most pixels that a replica decodes at the same time, at up to 24 bytes each."""
    max_depth: int = Field(10, ge=0, le=14)
    """Largest depth served; each level doubles the work."""
    max_explanations: int = Field(64, ge=1)
    """Explanations that an ingress replica waits for at the same time; its other requests are
    predictions. Less than its max_ongoing_requests."""
    max_explanation_s: float = Field(120.0, gt=0)
    """Longest predicted duration of an explanation, in seconds of one idle replica; costlier ones
    are refused."""
    max_backlog_s: float = Field(60.0, gt=0)
    """Predicted seconds of work that may wait in a replica; beyond, requests get a 503."""
    spread_s: float = Field(1.0, gt=0)
    """Predicted seconds of work left from which on an explanation asks idle replicas for help."""
    deadline_s: float = Field(100.0, gt=0)
    """Seconds after which the finished levels of an explanation are the answer. Less than
    http_options.request_timeout_s."""
    tokens: str | None = None
    """File of clients' tokens (python -m ier_ray.serve.tokens), which every ingress replica can
    read. Needed where the service listens on more than this machine's own address."""
    counters: str = "async+memory://"
    """Where the requests of a token are counted: in each ingress replica, or in a Redis that all
    share (async+redis://HOST:PORT)."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may use the service, such as https://lab.example."""
    explainer: ExplainerSettings = ExplainerSettings()
    """Defaults of explanations; a request may override them. Without a preset here or in a request,
    one tree, whose levels are final as they are streamed."""


class Health(BaseModel):
    """Reply of /healthz."""

    status: str


class ModelInfo(BaseModel):
    """Reply of /v1/models/ier."""

    name: str
    architecture: str
    image_size: int
    normalization: str
    scheme: str
    classes: list[str]
    epoch: int
    metrics: dict[str, float]
    weights_sha256: str


class PredictionReply(Prediction):
    """Reply of :predict."""

    weights_sha256: str
    """Hash of the weights that computed it."""


class ExplanationReply(ExplanationRecord):
    """Reply of :explain."""

    complete: bool
    """False if the deadline passed before the last level: these are the levels that were
    finished."""
    weights_sha256: str
    """Hash of the weights that computed it."""


class ExplainQuery(ExplainerSettings):
    """Query of :explain; omitted parameters have the service's configured values."""

    target: str | None = None
    """Class to explain; by default the predicted one."""

    @model_validator(mode="after")
    def _check_combination(self) -> "ExplainQuery":
        return self  # together with the service's settings, in :meth:`over`
