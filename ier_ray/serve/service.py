"""What the routes of one process use: its networks, and whoever explains; free of Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from fastapi import Path, Request
from starlette.convertors import StringConvertor, register_url_convertor

from ier_ray.data.schema import Domain
from ier_ray.inference import Recognizer
from ier_ray.serve.answers import Explainers
from ier_ray.serve.batching import Batcher
from ier_ray.serve.decoding import Decoder
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.graph import predictor
from ier_ray.serve.jobs.records import Jobs
from ier_ray.serve.schemas import AppArgs
from ier_ray.training.checkpoint import CheckpointManifest

MODELS = "/v1/models"


class DomainConvertor(StringConvertor):
    """Of paths: the networks that there may be, so that other names are no routes."""

    regex = "fer|ier"


register_url_convertor("network", DomainConvertor())
MODEL = f"{MODELS}/{{network:network}}"
"""Path of one network; its verbs follow after a colon."""
READ = ["GET", "HEAD"]
"""Methods of what is only read. Routes of one path share them, or Allow would name one alone."""
Network = Annotated[
    Literal["fer", "ier"],
    Path(description="The network: fer reads facial expressions, ier whole images."),
]


@dataclass(frozen=True)
class Service:
    """The served networks.

    Attributes:
        batchers: of the predictions of each network.
        decoder: of images.
        explainers: whoever explains.
        jobs: whoever keeps explanations as jobs; None where there are none.
    """

    args: AppArgs
    manifest: CheckpointManifest
    batchers: Mapping[Domain, Batcher]
    decoder: Decoder
    explainers: Explainers
    jobs: Jobs | None = None

    @classmethod
    def of(
        cls,
        recognizer: Recognizer,
        args: AppArgs,
        explainers: Explainers,
        jobs: Jobs | None = None,
        *,
        predicted: Callable[[Domain, int, float], None] = lambda *_: None,
    ) -> Service:
        """Serve the networks of a recognizer.

        Args:
            predicted: is told of each batch of predictions: network, images, seconds.
        """
        manifest = recognizer.manifest
        decoder = Decoder(
            manifest.preprocessing,
            max_pixels=args.max_upload_pixels,
            pixels_at_once=args.max_decoding_pixels,
        )
        batchers = {
            domain: Batcher(
                decoder,
                predictor(recognizer, domain),
                max_size=args.max_batch_size,
                max_wait_s=args.max_queue_s,
                computed=partial(predicted, domain),
            )
            for domain in manifest.networks
        }
        return cls(args, manifest, batchers, decoder, explainers, jobs)

    def require(self, network: Domain) -> None:
        """Refuse a request for a network that is not served.

        Raises:
            RefusedError: with status 404.
        """
        if network not in self.batchers:
            known = " and ".join(f"{MODELS}/{each}" for each in self.batchers)
            raise RefusedError(
                404,
                "no_network",
                f"the checkpoint holds no {network} network: use {known}, or deploy a checkpoint "
                f"that was trained with both (schedule.networks)",
            )


def serving(request: Request, network: Domain | None = None) -> Service:
    """The service whose interface got a request.

    A plain call: as two dependencies of FastAPI it took a prediction a tenth of a millisecond more.

    Args:
        network: of the request's path.

    Raises:
        RefusedError: when the network is not served.
    """
    service: Service = request.app.state.service()
    if network is not None:
        service.require(network)
    return service
