"""Predictions share batches when they wait anyway, and never wait for company."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ier_ray.serve.batching import Batcher
from ier_ray.serve.errors import RefusedError


class Network:
    """Returns each image's first value; records batches, and can be made to wait."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[int] = []
        self.seconds = seconds
        self.threads: set[int] = set()

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        self.batches.append(len(images))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        if (images[:, 0, 0, 0] == 255).any():
            raise ArithmeticError("white")
        return images[:, 0, 0, :1].astype(np.float64)


def batcher(network: Network, **options: Any) -> Batcher:
    return Batcher(network, **{"max_size": 4, "max_wait_s": 60.0, **options})


def image(value: int) -> NDArray[np.uint8]:
    return np.full((2, 2, 3), value, np.uint8)


def test_everybody_gets_their_own_result_in_batches_of_those_who_wait() -> None:
    network = Network(0.02)

    async def predict_all() -> list[NDArray[np.float64]]:
        batches = batcher(network)
        return await asyncio.gather(*(batches.predict(image(value)) for value in range(11)))

    found = asyncio.run(predict_all())
    assert [float(each[0]) for each in found] == list(range(11))
    assert network.batches == [4, 4, 3]
    assert threading.get_ident() not in network.threads  # the event loop stays free


def test_a_prediction_alone_is_computed_at_once() -> None:
    network = Network()

    async def one_after_another() -> None:
        batches = batcher(network)
        for value in range(3):
            await batches.predict(image(value))

    asyncio.run(one_after_another())
    assert network.batches == [1, 1, 1]


def test_who_left_is_not_computed() -> None:
    network = Network(0.05)

    async def leave() -> None:
        batches = batcher(network, max_size=1)
        tasks = [asyncio.create_task(batches.predict(image(value))) for value in range(3)]
        await asyncio.sleep(0.02)  # the first is being computed
        tasks[1].cancel()
        await tasks[2]

    asyncio.run(leave())
    assert network.batches == [1, 1]


def test_a_failing_batch_tells_those_in_it_and_the_next_goes_on() -> None:
    async def fail() -> None:
        batches = batcher(Network())
        with pytest.raises(ArithmeticError, match="white"):
            await batches.predict(image(255))
        assert float((await batches.predict(image(7)))[0]) == 7

    asyncio.run(fail())


def test_who_would_wait_too_long_is_refused_with_the_wait() -> None:
    network = Network(0.1)

    async def crowd() -> RefusedError:
        batches = batcher(network, max_size=1, max_wait_s=0.05)
        batches.admit()  # nothing is known yet, and nobody waits
        await batches.predict(image(0))
        for _ in range(30):
            await batches.predict(image(0))  # the average approaches the true duration
        batches.admit()
        waiting = [asyncio.create_task(batches.predict(image(0))) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(RefusedError) as refused:
            batches.admit()
        await asyncio.gather(*waiting)
        return refused.value

    found = asyncio.run(crowd())
    assert (found.status, found.error) == (503, "busy")
    assert found.detail.startswith("2 predictions wait")
    assert found.retry_after_s is not None
    assert 0.05 < found.retry_after_s < 1
    assert found.reply().headers["retry-after"] == "1"
