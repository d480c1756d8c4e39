"""The service's settings and parameters."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from ier_ray import storage
from ier_ray.config import Location, Settings
from ier_ray.data.schema import Domain
from ier_ray.explainer_settings import ExplainerSettings


class JobSettings(Settings):
    """Settings of explanations as jobs."""

    storage: Location
    """Directory or s3:// URI of uploads, scores and finished explanations."""
    database: str | None = None
    """Where jobs are recorded: postgresql://USER:PASSWORD@HOST/NAME, or sqlite:///FILE; by default
    a file of SQLite in a local storage. On a cluster of several nodes: PostgreSQL."""
    at_once: int = Field(4, ge=1)
    """Images of jobs that are explained at the same time. Less than an explainer's
    max_ongoing_requests leaves room for those who wait for a reply."""
    max_images: int = Field(256, ge=1)
    """Largest number of images of a job."""
    max_waiting: int = Field(10_000, ge=1)
    """Most images of all jobs that are not finished; beyond, new jobs get a 503."""
    max_explanation_s: float = Field(3600.0, gt=0)
    """Longest predicted duration of one image's explanation, in seconds of one idle replica."""
    keep_days: float = Field(7.0, gt=0)
    """Days after which a job that has ended is deleted with its explanations."""

    @model_validator(mode="after")
    def _has_a_database(self) -> JobSettings:
        if self.database is None and storage.is_remote(self.storage):
            raise ValueError(
                f"jobs.database: name a PostgreSQL database: {self.storage} holds no SQLite file"
            )
        return self


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
    max_instances: int = Field(16, ge=1)
    """Largest number of images in one request."""
    max_request_bytes: int = Field(40_000_000, ge=1)
    """Largest body of a request with several images, in bytes; base64 takes a third more than the
    images."""
    max_transfer_s: float = Field(60.0, gt=0)
    """Longest time for a client to send a request's body, and to take each part of a reply, in
    seconds. Less than http_options.request_timeout_s."""
    max_transfer_bytes: int = Field(400_000_000, ge=1)
    """Bodies of requests that an ingress replica holds before it begins with them, in bytes;
    beyond, requests get a 503."""
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
    """Predicted seconds of work that may wait in a replica, without that of jobs; beyond, requests
    get a 503."""
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
    jobs: JobSettings | None = None
    """Explanations as jobs, which outlive the connection and the service; by default none."""
    explainer: ExplainerSettings = ExplainerSettings()
    """Defaults of explanations; a request may override them. Without a preset here or in a request,
    one tree, whose levels are final as they are streamed."""


WORDS = {"true": True, "false": False}


def true_or_false(value: object) -> object:
    """The word of a query as a truth value; pydantic would take ``yes``, ``1`` and others too."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in WORDS:
        raise ValueError("must be true or false")
    return WORDS[value]


class ExplainParameters(ExplainerSettings):
    """Parameters of an explanation; those left out have the service's configured values."""

    target: str | None = None
    """Class to explain; by default the predicted one."""

    @model_validator(mode="after")
    def _check_combination(self) -> ExplainParameters:
        return self  # together with the service's settings, in :func:`ier_ray.serve.answers.merged`


class DryRunParameters(ExplainParameters):
    """Parameters of :explain."""

    dry_run: Annotated[bool, BeforeValidator(true_or_false)] = False
    """Compute nothing: check the image and the parameters, and reply with the cost."""


class JobParameters(ExplainParameters):
    """Parameters of a job."""

    network: Domain = "ier"
    """The network: fer reads facial expressions, ier whole images."""
