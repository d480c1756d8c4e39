"""One image of a job, whose explainer or storage fails midway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.checkpoints import save_tiny
from support.interface import OwnExplainers
from support.job_runners import ScriptedExplainers
from support.pictures import picture, saved

from ier_ray.errors import StorageError
from ier_ray.explain.engine import Scored, Spent
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.answers import Answer, Explainers, ExplainRequest, Predicted
from ier_ray.serve.errors import BUSY, RefusedError
from ier_ray.serve.explanations import Explanations
from ier_ray.serve.jobs import store as store_module
from ier_ray.serve.jobs import work
from ier_ray.serve.jobs.records import JobSpec, Outcome
from ier_ray.serve.jobs.store import JobStore
from ier_ray.serve.jobs.work import JobExplainer
from ier_ray.serve.schemas import AppArgs, ExplainParameters, JobSettings

SETTINGS = ExplainerSettings(depth=5, score="logit")
IMAGE = saved(picture(60))


class DeathError(BaseException):
    """Of a process."""


@dataclass(frozen=True)
class DyingStore(JobStore):
    """A store whose process dies between the scores and the explanation of a level."""

    dies_at: int = -1

    def keep_answer(self, key: str, answer: Answer) -> None:
        """As the base class."""
        if answer.explanation.tree.depth == self.dies_at:
            raise DeathError
        super().keep_answer(key, answer)


def spec_of(upload: str) -> JobSpec:
    return JobSpec(owner="", network="ier", settings=SETTINGS, target=None, uploads=(upload,))


@dataclass
class Here:
    """Explainers that know nothing, a store, and what one job asks for."""

    checkpoint: str
    location: str
    outcomes: list[Outcome] = field(default_factory=list)

    @contextlib.contextmanager
    def explainers(self, **options: Any) -> Iterator[OwnExplainers]:
        args = AppArgs(
            checkpoint=self.checkpoint, jobs=JobSettings(storage=self.location), **options
        )
        explanations = Explanations(Recognizer.load(self.checkpoint), args)
        try:
            yield OwnExplainers(explanations)
        finally:
            explanations.stop()

    @property
    def store(self) -> JobStore:
        weights = Recognizer.load(self.checkpoint).manifest.weights_sha256
        return JobStore(self.location, weights, adjust_prior=False)

    def run(self, explainers: Explainers, store: JobStore | None = None) -> Outcome:
        """Explain the image; what is told of its levels is added to the outcomes."""
        store = store or self.store
        upload = store.keep_upload(IMAGE)
        explainer = JobExplainer(explainers, store)
        return asyncio.run(explainer.explained(spec_of(upload), upload, self.outcomes.append))

    def levels(self) -> list[int | None]:
        return [each.level for each in self.outcomes]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def here(checkpoint: str, tmp_path: Path) -> Here:
    return Here(checkpoint, str(tmp_path / "store"))


@pytest.fixture
def whole(checkpoint: str, tmp_path: Path) -> Outcome:
    """What comes of the image when nothing happens."""
    alone = Here(checkpoint, str(tmp_path / "alone"))
    with alone.explainers() as explainers:
        found = alone.run(explainers)
    assert (found.state, found.level, alone.levels()) == ("finished", 5, [0, 1, 2, 3, 4, 5])
    return found


def failing(*errors: BaseException, level: int) -> Callable[[Answer], Answer]:
    """Raises the errors, one after another, when a level comes."""
    left = list(errors)

    def change(answer: Answer) -> Answer:
        if left and answer.explanation.tree.depth == level:
            raise left.pop(0)
        return answer

    return change


def test_no_cost_is_lost_and_no_level_undone_by_a_death_between_scores_and_map(
    here: Here, whole: Outcome
) -> None:
    dying = DyingStore(**vars(here.store), dies_at=3)
    with here.explainers() as explainers, pytest.raises(DeathError):
        here.run(explainers, dying)
    assert here.levels() == [0, 1, 2]
    with here.explainers() as explainers:  # they know nothing of the image
        assert here.run(explainers) == whole
    assert here.levels() == [0, 1, 2, 2, 3, 4, 5]


def test_a_call_that_others_cancel_is_a_loss_of_the_explainer(here: Here, whole: Outcome) -> None:
    with here.explainers() as explainers:
        change = failing(asyncio.CancelledError(), asyncio.CancelledError(), level=4)
        assert here.run(ScriptedExplainers(explainers, change)).state == "finished"
    assert here.levels() == [0, 1, 2, 3, 3, 3, 4, 5]


def test_who_dies_at_every_attempt_is_given_up_but_not_who_comes_further(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MOST_LOSSES", 2)
    lost = [RefusedError(BUSY, "explainer_lost", "the explainer has died", 0.0) for _ in range(3)]
    with here.explainers() as explainers:
        found = here.run(ScriptedExplainers(explainers, failing(*lost, level=2)))
        assert (found.state, found.refusal and found.refusal.error) == ("failed", "explainer_lost")
        assert found.rows > 0

        first, second = failing(*lost[:2], level=3), failing(*lost[:2], level=4)
        scripted = ScriptedExplainers(explainers, lambda answer: second(first(answer)))
        assert here.run(scripted).state == "finished"


def test_a_failure_of_the_network_is_tried_again_a_few_times_only(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MOST_LOSSES", 2)
    failed = [RefusedError(BUSY, "failed", "out of memory", 0.0) for _ in range(9)]
    with here.explainers() as explainers:
        found = here.run(ScriptedExplainers(explainers, failing(*failed, level=2)))
    assert (found.state, found.refusal and found.refusal.detail) == ("failed", "out of memory")


def test_a_storage_that_comes_back_costs_nothing(
    here: Here, whole: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MOST_WAIT_S", 0.01)
    left = [StorageError("away") for _ in range(4)]
    kept = JobStore.keep_scored

    def keep_scored(self: JobStore, *arguments: Any) -> None:
        if left:
            raise left.pop()
        kept(self, *arguments)

    monkeypatch.setattr(JobStore, "keep_scored", keep_scored)
    with here.explainers() as explainers:
        assert here.run(explainers) == whole
    assert not left


def test_a_storage_that_stays_away_is_told_without_its_name(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "STORAGE_S", 0.0)

    def keep_scored(self: JobStore, *arguments: Any) -> None:
        raise StorageError("/secret: away")

    monkeypatch.setattr(JobStore, "keep_scored", keep_scored)
    with here.explainers() as explainers:
        found = here.run(explainers)
    assert (found.state, found.refusal and found.refusal.error) == ("failed", "no_storage")
    assert "secret" not in found.model_dump_json()


def test_those_who_wait_are_not_refused_for_the_work_of_jobs(here: Here) -> None:
    deep = ExplainParameters(depth=8, contexts="both", score="logit")

    async def run(explainers: Explainers) -> list[str]:
        async def begun(image: int, *, for_job: bool) -> AsyncGenerator[Answer | Predicted, None]:
            request = ExplainRequest(
                saved(picture(image)), "ier", deep, levels=True, for_job=for_job
            )
            answers = explainers.answers(request)
            await anext(answers)
            return answers

        async with contextlib.AsyncExitStack() as stack:
            refused = []
            for image, for_job in enumerate([True, True, False, False, True]):
                try:
                    answers = await begun(image, for_job=for_job)
                    await stack.enter_async_context(contextlib.aclosing(answers))
                except RefusedError as error:
                    refused.append(f"{image} {error.error}")
            return refused

    with here.explainers(max_backlog_s=1e-9) as explainers:
        # Another who waits makes the fourth and the last wait.
        assert asyncio.run(run(explainers)) == ["3 busy", "4 busy"]


@pytest.mark.parametrize("wanted", [{"weights_sha256": "0" * 64}, {"adjust_prior": True}])
def test_another_explainer_than_the_wanted_one_is_busy(here: Here, wanted: dict[str, Any]) -> None:
    request = ExplainRequest(IMAGE, "ier", ExplainParameters(), **wanted)

    async def first(explainers: Explainers) -> Answer | Predicted:
        return await anext(explainers.answers(request))

    with here.explainers() as explainers, pytest.raises(RefusedError, match="explainer has") as e:
        asyncio.run(first(explainers))
    assert e.value.status == BUSY


def test_what_is_kept_is_of_weights_prior_and_algorithm(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, spec = here.store, spec_of("0" * 64)
    others = [replace(store, weights_sha256="1" * 64), replace(store, adjust_prior=True)]
    names = [each.names_of(spec) - {"0" * 64} for each in (store, *others)]
    monkeypatch.setattr(store_module, "ALGORITHM", 0)
    names.append(store.names_of(spec) - {"0" * 64})
    assert [len(each) for each in names] == [2] * 4
    assert len(set().union(*names)) == 8


def test_scores_are_read_up_to_a_bound_its_own_first(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = here.store
    parts = [Scored([bytes([number, row]) for row in range(4)], np.full((4, 2), number))
             for number in range(3)]  # fmt: skip
    for number, part in enumerate(parts):
        store.keep_scored("image", f"key{number}", [part], Spent(4 * number, 10.0 * number))
    found, spent = store.scored("image", "key2")
    assert (len(found), spent) == (3, Spent(8, 20.0))
    assert found[0].keys == parts[2].keys
    np.testing.assert_array_equal(found[0].logits, parts[2].logits)
    monkeypatch.setattr(store_module, "MOST_ROWS", 5)
    found, spent = store.scored("image", "key1")
    assert ([len(each.keys) for each in found], spent) == ([4, 4], Spent(4, 10.0))
    assert store.scored("image", "another")[1] == Spent()
