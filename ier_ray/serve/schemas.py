"""The service's settings, query parameters and replies."""

from pydantic import BaseModel, Field, model_validator

from ier_ray.config import Settings
from ier_ray.inference import ExplainerSettings


class AppArgs(Settings):
    """Arguments of the application in serve_config.yaml."""

    checkpoint: str
    """Checkpoint directory or s3:// URI that every node can read."""
    adjust_prior: bool = False
    """Shift probabilities from the class frequencies of training, which is balanced, to those of
    the validation part; explanations then explain the shifted ones."""
    explain_workers: int = Field(2, ge=1)
    """Number of actors in the DnCShap pool."""
    explain_worker_cpus: float = Field(0.5, gt=0)
    """CPUs of each actor."""
    explain_worker_gpus: float = Field(0.0, ge=0)
    """GPUs of each actor."""
    max_batch_size: int = Field(16, ge=1)
    """Largest number of predictions in one forward pass."""
    batch_wait_s: float = Field(0.02, ge=0)
    """Seconds that a prediction waits for others to share its forward pass."""
    max_upload_bytes: int = Field(10_000_000, ge=1)
    """Largest encoded image accepted, in bytes."""
    max_upload_pixels: int = Field(50_000_000, ge=1)
    """Largest decoded image accepted, in pixels."""
    max_depth: int = Field(10, ge=0, le=14)
    """Largest depth served; each level doubles the work."""
    explainer: ExplainerSettings = ExplainerSettings()
    """Defaults of explanations; a request may override them."""


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


class ExplainQuery(ExplainerSettings):
    """Query of :explain; omitted parameters have the service's configured values."""

    target: str | None = None
    """Class to explain; by default the predicted one."""

    @model_validator(mode="after")
    def _go_together(self) -> "ExplainQuery":
        return self  # checked together with the service's settings, in :meth:`over`

    def over(self, configured: ExplainerSettings) -> ExplainerSettings:
        """The service's settings, overridden by the query's.

        Raises:
            pydantic.ValidationError: when the combined settings are invalid.
        """
        given = self.model_dump(include=self.model_fields_set - {"target"})
        return ExplainerSettings.model_validate(configured.model_dump() | given)


class ErrorReply(BaseModel):
    """Body of every 4xx reply."""

    error: str
    detail: str
