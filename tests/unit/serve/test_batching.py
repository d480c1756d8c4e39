"""Predictions share batches when they wait anyway, and never wait for company."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ier_ray.data.images import encode_png
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.serve.batching import Batcher
from ier_ray.serve.decoding import Decoder
from ier_ray.serve.errors import RefusedError


class Network:
    """Returns each image's first value; records batches, and can be held."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[int] = []
        self.seconds = seconds
        self.threads: set[int] = set()
        self.goes_on = threading.Event()
        self.goes_on.set()

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        self.batches.append(len(images))
        self.threads.add(threading.get_ident())
        assert self.goes_on.wait(10)
        time.sleep(self.seconds)
        if (images[:, 0, 0, 0] == 255).any():
            raise ArithmeticError("white")
        return images[:, 0, 0, :1].astype(np.float64)


def batcher(network: Network, **options: Any) -> Batcher:
    decoder = Decoder(Preprocessing(2), max_pixels=10**6, pixels_at_once=10**6)
    return Batcher(decoder, network, **{"max_size": 4, "max_wait_s": 60.0, **options})


def image(value: int) -> bytes:
    return encode_png(np.full((2, 2, 3), value, np.uint8))


async def queued(batches: Batcher, count: int) -> None:
    """Wait until so many images wait for the network."""
    while batches.waiting < count:
        await asyncio.sleep(0.001)


def test_everybody_gets_their_own_result_in_batches_of_those_who_wait() -> None:
    network = Network()
    network.goes_on.clear()

    async def predict_all() -> list[NDArray[np.float64]]:
        batches = batcher(network)
        first = asyncio.create_task(batches.predict(image(0)))
        while not network.batches:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batches.predict(image(value))) for value in range(1, 11)]
        await queued(batches, 10)
        network.goes_on.set()
        return await asyncio.gather(first, *others)

    found = asyncio.run(predict_all())
    assert [float(each[0]) for each in found] == list(range(11))
    assert network.batches == [1, 4, 4, 2]
    assert threading.get_ident() not in network.threads  # the event loop stays free


def test_the_next_batch_begins_while_the_event_loop_is_busy() -> None:
    network = Network()
    network.goes_on.clear()

    async def block() -> int:
        batches = batcher(network, max_size=1)
        tasks = [asyncio.create_task(batches.predict(image(value))) for value in range(3)]
        await queued(batches, 2)
        network.goes_on.set()
        until = time.monotonic() + 10
        while len(network.batches) < 3 and time.monotonic() < until:
            time.sleep(0.001)
        computed = len(network.batches)
        await asyncio.gather(*tasks)
        return computed

    assert asyncio.run(block()) == 3


def test_a_prediction_alone_is_computed_at_once() -> None:
    network = Network()

    async def one_after_another() -> None:
        batches = batcher(network)
        for value in range(3):
            await batches.predict(image(value))

    asyncio.run(one_after_another())
    assert network.batches == [1, 1, 1]


def test_who_left_is_not_computed() -> None:
    network = Network()
    network.goes_on.clear()

    async def leave() -> None:
        batches = batcher(network, max_size=1)
        tasks = [asyncio.create_task(batches.predict(image(0)))]
        while not network.batches:  # it is being computed
            await asyncio.sleep(0.001)
        tasks += [asyncio.create_task(batches.predict(image(value))) for value in (1, 2)]
        await queued(batches, 2)
        tasks[1].cancel()
        network.goes_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(leave())
    assert network.batches == [1, 1]


def test_an_image_that_cannot_be_decoded_is_refused_and_is_in_no_batch() -> None:
    network = Network()

    async def refuse() -> None:
        batches = batcher(network)
        with pytest.raises(RefusedError, match="image"):
            await batches.predict(b"no image")
        assert float((await batches.predict(image(7)))[0]) == 7

    asyncio.run(refuse())
    assert network.batches == [1]


def test_a_failing_batch_tells_those_in_it_and_the_next_goes_on() -> None:
    async def fail() -> None:
        batches = batcher(Network())
        with pytest.raises(ArithmeticError, match="white"):
            await batches.predict(image(255))
        assert float((await batches.predict(image(7)))[0]) == 7

    asyncio.run(fail())


def test_its_thread_ends_with_the_batcher() -> None:
    before = set(threading.enumerate())
    batches = batcher(Network())
    started = set(threading.enumerate()) - before  # those of earlier tests may be ending now
    (own,) = (thread for thread in started if thread.name == "predictions")
    del batches
    own.join(10)
    assert not own.is_alive()


def test_who_would_wait_too_long_is_refused_with_the_wait() -> None:
    network = Network(0.1)

    async def crowd() -> RefusedError:
        batches = batcher(network, max_size=1, max_wait_s=0.05)
        batches.admit()  # nothing is known yet, and nobody waits
        for _ in range(31):
            await batches.predict(image(0))  # the average approaches the true duration
        batches.admit()
        network.goes_on.clear()
        waiting = [asyncio.create_task(batches.predict(image(0))) for _ in range(3)]
        await queued(batches, 2)
        with pytest.raises(RefusedError) as refused:
            batches.admit()
        network.goes_on.set()
        await asyncio.gather(*waiting)
        return refused.value

    found = asyncio.run(crowd())
    assert (found.status, found.error) == (503, "busy")
    assert found.detail.startswith("2 predictions wait")
    assert found.retry_after_s is not None
    assert 0.05 < found.retry_after_s < 1
    assert found.reply("/").headers["retry-after"] == "1"
