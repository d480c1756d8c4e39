"""Many users of one service for a long time, each checked against what the network gives alone."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray

from ier_ray.data.images import decode_square
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from support.mutations import DECLARED, PATHS, request_of
from support.service import EXPLAIN, PREDICT, scene

JOBS = "/v1/explanations"
SCENES = [scene(seed) for seed in range(6)]
DEPTHS = (3, 5, 6)
BUSY = frozenset({503, 504})
"""Statuses of what may be tried again; all others above 499 are faults."""
ENDED = frozenset({"finished", "failed", "cancelled"})
ATOL = 1e-5
LOST_S = 180.0
"""Seconds after which a job that has not ended counts as lost."""
SAMPLE_S = 2.0
Values = NDArray[np.float64]


@dataclass
class Reference:
    """What the network gives in this process, one after another."""

    probabilities: list[Values]
    values: Mapping[tuple[int, int], Values]
    """Of the leaves, by scene and depth."""

    @classmethod
    def of(cls, recognizer: Recognizer) -> Reference:
        """Compute it."""
        size = recognizer.manifest.model.image_size
        pixels = [decode_square(each, size) for each in SCENES]
        values = {}
        for seed, depth in itertools.product(range(len(SCENES)), DEPTHS):
            settings = ExplainerSettings(depth=depth, baseline="blur")
            found = settings.explainer().explain(recognizer.evaluator(pixels[seed], settings))
            predicted = int(recognizer.probabilities(pixels[seed][None])[0].argmax())
            values[seed, depth] = found.leaf_values(predicted)
        return cls([recognizer.probabilities(each[None])[0] for each in pixels], values)


@dataclass
class Soak:
    """What happened.

    Attributes:
        done: replies that were right, by the kind of user.
        busy: replies that asked to come again.
        faults: everything that should not have happened, in words.
        pss: bytes of the service's processes, by the second of the sample.
    """

    url: str
    reference: Reference
    done: Counter[str] = field(default_factory=Counter)
    busy: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    pss: list[tuple[float, int]] = field(default_factory=list)
    until: float = 0.0

    async def run(
        self,
        seconds: float,
        victims: Callable[[str], list[psutil.Process]],
        processes: Callable[[], list[psutil.Process]],
        *,
        kill_every_s: float,
    ) -> None:
        """Use the service for some seconds; jobs that are open then are followed to their ends.

        Args:
            victims: processes of a deployment, of which one is killed now and then.
            processes: all of the service.
        """
        self.until = time.monotonic() + seconds
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
        async with httpx.AsyncClient(base_url=self.url, timeout=120, limits=limits) as client:
            users: list[Callable[[httpx.AsyncClient, random.Random], Awaitable[None]]] = [
                self._predict,
                self._predict,
                self._explain,
                self._explain,
                self._stream,
                self._stream,
                self._job,
                self._job,
                self._job,
                self._bad,
            ]
            await asyncio.gather(
                *(self._repeat(user, client, seed) for seed, user in enumerate(users)),
                self._kill(victims, kill_every_s),
                self._measure(processes),
            )

    def growth(self) -> float:
        """Median PSS of the last third of the samples over that of the middle third."""
        third = len(self.pss) // 3
        sizes = [size for _, size in self.pss]
        return statistics.median(sizes[2 * third :]) / statistics.median(sizes[third : 2 * third])

    async def _repeat(
        self,
        user: Callable[[httpx.AsyncClient, random.Random], Awaitable[None]],
        client: httpx.AsyncClient,
        seed: int,
    ) -> None:
        draw = random.Random(seed)
        while time.monotonic() < self.until:
            try:
                await user(client, draw)
            except httpx.HTTPError as error:
                self.faults.append(f"{user.__name__}: {error!r}")
            await asyncio.sleep(draw.uniform(0, 0.3))

    def _served(self, kind: str, reply: httpx.Response) -> bool:
        """Whether a request was served; if it is a fault that it was not, it is noted."""
        if reply.is_success:
            return True
        if reply.status_code in BUSY:
            self.busy[kind] += 1
        else:
            self.faults.append(f"{kind}: {reply.status_code} {reply.text[:200]}")
        return False

    def _compare(self, kind: str, found: Values, expected: Values) -> None:
        if np.abs(found - expected).max() > ATOL:
            self.faults.append(f"{kind}: wrong by {np.abs(found - expected).max():.2g}")
        self.done[kind] += 1

    async def _predict(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        seed = draw.randrange(len(SCENES))
        reply = await client.post(PREDICT, content=SCENES[seed])
        if self._served("predict", reply):
            found = np.array(list(reply.json()["probabilities"].values()))
            self._compare("predict", found, self.reference.probabilities[seed])

    async def _explain(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        seed, depth = draw.randrange(len(SCENES)), draw.choice(DEPTHS)
        query: dict[str, Any] = {"depth": depth, "baseline": "blur"}
        try:
            async with asyncio.timeout(draw.choice((0.05, 120, 120))):  # some leave at once
                reply = await client.post(EXPLAIN, content=SCENES[seed], params=query)
        except TimeoutError:
            self.done["left"] += 1
            return
        if self._served("explain", reply):
            self._compare("explain", leaves(reply.json()), self.reference.values[seed, depth])

    async def _stream(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        seed, depth = draw.randrange(len(SCENES)), draw.choice(DEPTHS)
        query: dict[str, Any] = {"depth": depth, "baseline": "blur"}
        headers, leave_at = {"accept": "text/event-stream"}, draw.choice((1, 3, 99, 99))
        async with client.stream(
            "POST", EXPLAIN, content=SCENES[seed], params=query, headers=headers
        ) as reply:
            if not reply.is_success:
                await reply.aread()
                self._served("stream", reply)
                return
            name, levels = "", 0
            async for line in reply.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: ") and name == "level":
                    levels += 1
                    if levels >= leave_at:
                        self.done["left a stream"] += 1
                        return
                elif line.startswith("data: ") and name == "explanation":
                    found = leaves(httpx.Response(200, content=line.removeprefix("data: ")).json())
                    self._compare("stream", found, self.reference.values[seed, depth])
                    return
        self.busy["stream"] += 1  # an explainer was killed, which the event `error` says
        if name != "error":
            self.faults.append(f"stream: ended after {name!r}")

    async def _job(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        seeds, depth = draw.sample(range(len(SCENES)), draw.randint(1, 3)), draw.choice(DEPTHS)
        files = [("image", SCENES[seed]) for seed in seeds]
        query: dict[str, Any] = {"depth": depth, "baseline": "blur"}
        reply = await client.post(JOBS, files=files, params=query)
        if not self._served("job", reply):
            return
        path = reply.headers["location"]
        if draw.random() < 0.1:
            await self._delete(client, path)
            return
        reply = await self._ended(client, path, cancels=draw.random() < 0.2)
        job = reply.json()
        if job["state"] == "failed":
            self.faults.append(f"job: failed: {job}")
        for place, (seed, image) in enumerate(zip(seeds, job["images"], strict=True)):
            if image["state"] == "finished":
                reply = await client.get(f"{path}/{place}")
                if self._served("job", reply):
                    expected = self.reference.values[seed, depth]
                    self._compare("image of a job", leaves(reply.json()), expected)
            elif job["state"] == "finished":
                self.faults.append(f"job: an image is {image}")
        self.done[f"job {job['state']}"] += 1

    async def _delete(self, client: httpx.AsyncClient, path: str) -> None:
        reply = await client.delete(path)
        while reply.status_code != 404 and not self._served("job", reply):  # the reply may be lost
            await asyncio.sleep(0.3)
            reply = await client.delete(path)
        gone = await client.get(path)
        if gone.status_code not in {404, *BUSY}:
            self.faults.append(f"job: {gone.status_code} after it was deleted")
        self.done["deleted a job"] += 1

    async def _ended(
        self, client: httpx.AsyncClient, path: str, *, cancels: bool
    ) -> httpx.Response:
        """The reply that says that a job has ended."""
        deadline = time.monotonic() + LOST_S
        while time.monotonic() < deadline:
            await asyncio.sleep(0.3)
            if cancels:
                cancels = not (await client.post(f"{path}:cancel")).is_success
            reply = await client.get(path)
            if self._served("job", reply) and reply.json()["state"] in ENDED:
                return reply
        raise httpx.ReadTimeout(f"the job {path} is lost: {reply.text[:300]}")

    async def _bad(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        media, body = request_of(SCENES, draw)
        path = draw.choice((*PATHS, f"{JOBS}?depth=1"))
        reply = await client.post(
            path, content=body, headers=[(b"content-type", media.encode("latin-1"))]
        )
        if reply.status_code in {*DECLARED, *BUSY} or reply.is_success:
            self.done["bad request"] += 1
        else:
            self.faults.append(f"bad request: {reply.status_code} {reply.text[:200]}")

    async def _kill(self, victims: Callable[[str], list[psutil.Process]], every_s: float) -> None:
        for name in itertools.cycle(("Explainer", "JobKeeper")):
            await asyncio.sleep(every_s)
            if time.monotonic() > self.until - every_s:
                return
            for process in await asyncio.to_thread(victims, name):
                process.kill()
                self.kills[name] += 1

    async def _measure(self, processes: Callable[[], list[psutil.Process]]) -> None:
        began = time.monotonic()
        while time.monotonic() < self.until:
            await asyncio.sleep(SAMPLE_S)
            size = await asyncio.to_thread(lambda: sum(map(pss_of, processes())))
            self.pss.append((time.monotonic() - began, size))


def leaves(reply: dict[str, Any]) -> Values:
    """Values of the leaves of a reply."""
    return np.array([each["value"] for each in reply["leaves"]])


def pss_of(process: psutil.Process) -> int:
    """Bytes of a process, those that it shares divided by their users; 0 if it has ended."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
