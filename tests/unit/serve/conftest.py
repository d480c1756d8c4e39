"""The page with a scripted service; modules with other pages have fixtures of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from support.scripted_page import Service, scripted_page, scripted_service


@pytest.fixture
def service() -> Service:
    return scripted_service()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    with scripted_page(browser, service) as opened:
        yield opened
