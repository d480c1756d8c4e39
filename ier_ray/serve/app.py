"""The application: predictions by the ingress's own networks, explanations by the explainers."""

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import BackpressureConfig, RequestRouterConfig
from ray.serve.context import _get_global_client
from ray.serve.handle import DeploymentHandle

from ier_ray.inference import Recognizer
from ier_ray.serve.access import Access, Guard, require_tokens
from ier_ray.serve.api import Api
from ier_ray.serve.delegation import ExplainerReplicas
from ier_ray.serve.deployments import Explainer
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.front import Gate
from ier_ray.serve.jobs.replica import JobKeeper, JobsReplica
from ier_ray.serve.metrics import IngressMetrics
from ier_ray.serve.reception import TransferLimits
from ier_ray.serve.request_logs import log_to_serve
from ier_ray.serve.schemas import AppArgs
from ier_ray.serve.service import Service
from ier_ray.serve.tokens import read_tokens
from ier_ray.serve.uploads import largest_body
from ier_ray.training.checkpoint import read_checkpoint_manifest, require_images

BATCHES = 6
"""Full batches of predictions that may be under way: one runs, others are read and decoded."""


def service_of_replica() -> Service:
    """The service of the ingress replica that this process is."""
    replica: Any = serve.get_replica_context().servable_object
    service: Service = replica.service
    return service


api = Api(service_of_replica)


@serve.deployment(
    ray_actor_options={"num_cpus": 0.5},
    max_ongoing_requests=128,
    max_queued_requests=64,
    # Without HAProxy, Serve's proxy would look for a free replica twice a second only.
    request_router_config=RequestRouterConfig(initial_backoff_s=0.005, max_backoff_s=0.05),
    backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1),
    max_surge_percent=100,
    graceful_shutdown_wait_loop_s=0.5,
    graceful_shutdown_timeout_s=120,  # longer than an explanation may take
)
@serve.ingress(api)
class Ingress:
    """Validates requests, predicts, and delegates explanations by handle.

    Attributes:
        service: what the routes of ``api`` use.
    """

    def __init__(
        self, args: AppArgs, explainer: DeploymentHandle, jobs: DeploymentHandle | None = None
    ) -> None:
        log_to_serve()
        metrics = IngressMetrics()
        RefusedError.told = metrics.refused
        require_tokens(listening_host(), args.tokens)
        Access.guard = None if args.tokens is None else Guard(args.tokens, args.counters)
        Access.origins = args.cors_origins
        recognizer = Recognizer.load(
            args.checkpoint, adjust_prior=args.adjust_prior, weights_sha256=args.weights_sha256
        )
        Gate.most_predictions = BATCHES * args.max_batch_size
        Gate.transfer = TransferLimits(
            seconds=args.max_transfer_s,
            body_bytes=largest_body(args),
            bytes_at_once=args.max_transfer_bytes,
        )
        explainers = ExplainerReplicas(explainer, most=args.max_explanations)
        kept = None if jobs is None else JobsReplica(jobs)
        self.service = Service.of(recognizer, args, explainers, kept, predicted=metrics.predicted)


def listening_host() -> str:
    """The address that this cluster's Serve listens on."""
    client = _get_global_client()
    host: str = client.http_config.host  # there is no public way to ask
    return host


def build(args: AppArgs) -> Application:
    """The application that serve_config.yaml starts.

    Raises:
        CheckpointError: when there is no checkpoint, its networks do not read images, or its
            weights are not those that were asked for.
        DataError, StorageError: when the file of tokens cannot be read.
    """
    if args.tokens is not None:
        read_tokens(args.tokens)
    manifest = read_checkpoint_manifest(args.checkpoint)
    require_images(manifest, args.checkpoint, use="served")
    pinned = args.model_copy(
        update={"weights_sha256": args.weights_sha256 or manifest.weights_sha256}
    )
    deployments: list[Any] = [Ingress, Explainer, JobKeeper]  # decorated: no longer classes
    ingress, explainer, keeper = deployments
    explainers = explainer.bind(pinned)
    jobs = None if args.jobs is None else keeper.bind(pinned, explainers)
    application: Application = ingress.bind(pinned, explainers, jobs)
    return application
