"""A Serve application of one deployment: FastAPI and the network in the same replica."""

from typing import Any

from fastapi import FastAPI, Request
from ray import serve
from ray.serve import Application

from ier_ray.config import Settings
from ier_ray.records import Prediction
from ier_ray.serve.front import Gate
from serving.predictor import MOST_PREDICTIONS, Predictor

api = FastAPI()


class OneHopArgs(Settings):
    """Arguments of the application."""

    checkpoint: str
    """Its network predicts."""
    threads: int
    """Of the network."""


# Without CPUs, it fits beside our application, which may ask for all of them. The limit keeps the
# replica's queue in the replica; requests beyond Serve's default of 5 would wait in its router.
@serve.deployment(max_ongoing_requests=4096, ray_actor_options={"num_cpus": 0})
@serve.ingress(api)
class OneHop:
    """Predicts in the ingress."""

    def __init__(self, args: OneHopArgs) -> None:
        self._predictor = Predictor(args.checkpoint, args.threads)
        Gate.most_predictions = MOST_PREDICTIONS

    @api.post("/ier:predict")
    async def predict(self, request: Request) -> Prediction:
        """The prediction of the image in the body."""
        return await self._predictor.predict(await request.body())


def build(args: OneHopArgs) -> Application:
    """The application."""
    deployment: Any = OneHop  # decorated: no longer a class
    application: Application = deployment.bind(args)
    return application
