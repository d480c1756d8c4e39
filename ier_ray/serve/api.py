"""The HTTP interface as an ASGI application; free of Ray."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from ier_ray import __version__
from ier_ray.serve import explanation_routes, job_routes, model_routes, reference
from ier_ray.serve.access import Access
from ier_ray.serve.document import document
from ier_ray.serve.errors import handle_errors
from ier_ray.serve.service import Service
from ier_ray.serve.web_page import serve_page


class Api(FastAPI):
    """The interface of the service that a function gives, when a request comes.

    Args:
        service: called for each request.
    """

    def __init__(self, service: Callable[[], Service]) -> None:
        super().__init__(
            title="ier_ray",
            version=__version__,
            docs_url=None,
            redoc_url=None,
            generate_unique_id_function=name_of,
        )
        self.state.service = service
        self.add_middleware(Access)
        modules = (model_routes, explanation_routes, job_routes, reference)
        routers = [module.router for module in modules]
        handle_errors(self, routers)
        for router in routers:
            self.include_router(router)
        serve_page(self)

    def openapi(self) -> dict[str, Any]:
        """The interface's document, with the limits of this service."""
        if self.openapi_schema is None:
            with warnings.catch_warnings():  # GET and HEAD are one operation here
                warnings.filterwarnings("ignore", "Duplicate Operation ID")
                generated = super().openapi()
            self.openapi_schema = document(generated, self.state.service())
        return self.openapi_schema


def name_of(route: APIRoute) -> str:
    """How the document names a route."""
    return route.name
