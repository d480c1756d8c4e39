"""The server without Ray: uvicorn, FastAPI and the network in one process."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Request

from ier_ray.records import Prediction
from ier_ray.serve.front import Gate
from serving.load import HOST, allow_many_connections
from serving.predictor import MOST_PREDICTIONS, Predictor


def application(checkpoint: str, threads: int) -> FastAPI:
    """The same route as that of the one-hop application."""
    api, predictor = FastAPI(), Predictor(checkpoint, threads)

    async def predict(request: Request) -> Prediction:
        return await predictor.predict(await request.body())

    api.post("/ier:predict")(predict)
    Gate.most_predictions = MOST_PREDICTIONS
    api.add_middleware(Gate)
    return api


if __name__ == "__main__":
    allow_many_connections()
    place, threads, port = sys.argv[1:]
    uvicorn.run(application(place, int(threads)), host=HOST, port=int(port), log_level="warning")
