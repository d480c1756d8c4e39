"""What the service is configured with, and what it answers."""

from pydantic import BaseModel, Field, model_validator

from ier_ray.config import Settings
from ier_ray.inference import ExplainerSettings


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


class ExplainQuery(ExplainerSettings):
    """Query of :explain; what is not given is as the service is configured."""

    target: str | None = None
    """Class to explain; by default the predicted one."""

    @model_validator(mode="after")
    def _go_together(self) -> "ExplainQuery":
        return self  # judged with the service's settings, see :meth:`over`

    def over(self, configured: ExplainerSettings) -> ExplainerSettings:
        """The service's settings with what the query gives.

        Raises:
            pydantic.ValidationError: when they do not go together.
        """
        given = self.model_dump(include=self.model_fields_set - {"target"})
        return ExplainerSettings.model_validate(configured.model_dump() | given)


class ErrorReply(BaseModel):
    """Body of every 4xx answer."""

    error: str
    detail: str
