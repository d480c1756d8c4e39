"""The engine gives what each explanation gives alone, fairly, and stops what nobody waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.engines import (
    BASELINE,
    CountingNetwork,
    Waiting,
    held,
    image_of,
    job_of,
    largest_difference,
    small_network,
    submitted,
)
from torch import Tensor, nn

from ier_ray.errors import CancelledError, DeadlineError
from ier_ray.explain import AnytimeExplainer, ExactInference, Explanation, RegionTree
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.engine import Done, Engine, Failed, Level
from ier_ray.explain.engine import engine as engine_module
from ier_ray.explain.engine.shared import Logits
from ier_ray.explain.engine.speed import Speed
from ier_ray.explain.evaluators import log_odds, logit, probability
from ier_ray.explain.masking import MaskedImages

EXPLAINERS = (
    AnytimeExplainer(4),
    AnytimeExplainer(3, contexts="absent", variant="paper"),
    AnytimeExplainer(6, contexts="present", variant="proportional", tolerance=0.001),
    AnytimeExplainer(4, budget=20),
    AnytimeExplainer(3, budget=120),
    AnytimeExplainer(3, first_axis="both"),
    AnytimeExplainer(2, first_axis="both", budget=60),
    AnytimeExplainer(3, trees=3),
    AnytimeExplainer(5, trees=2, first_axis="both", contexts="present", tolerance=0.001),
    AnytimeExplainer(3, trees=2, budget=160),
    AnytimeExplainer(0),
)


@pytest.fixture
def engine() -> Iterator[Engine]:
    running = Engine()
    yield running
    running.stop()


@pytest.fixture
def network() -> CountingNetwork:
    return CountingNetwork(small_network(), places=4)


def alone(explainer: AnytimeExplainer, image: int) -> Explanation:
    evaluator = ExactInference.of(small_network()).evaluator(image_of(image), BASELINE)
    return explainer.explain(evaluator)


def test_together_equals_alone(engine: Engine, network: CountingNetwork) -> None:
    """More images than places, all kinds of explanations, full trees beside adaptive ones."""
    cases = [(explainer, image) for image in range(7) for explainer in EXPLAINERS]
    jobs = [job_of(network, explainer, image=image) for explainer, image in cases]
    for (explainer, image), waiting in zip(cases, submitted(engine, jobs), strict=True):
        found, expected = waiting.explanation(), alone(explainer, image)
        assert waiting.done().complete
        assert largest_difference(found, expected) < 1e-12
        assert found.evaluations == expected.evaluations
        assert found.inference == "incremental"
    assert max(map(len, network.batches)) > 1  # rows of several explanations shared a batch


def test_a_network_without_windows_is_shared_too(engine: Engine) -> None:
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3)).double().eval()
    network = CountingNetwork(dense)
    jobs = [job_of(network, AnytimeExplainer(3), image=image) for image in range(3)]
    for image, waiting in enumerate(submitted(engine, jobs)):
        evaluator = ExactInference.of(dense).evaluator(image_of(image), BASELINE)
        expected = AnytimeExplainer(3).explain(evaluator)
        found = waiting.explanation()
        assert largest_difference(found, expected) < 1e-12
        assert found.inference == expected.inference
        assert found.inference.startswith("dense: ")


def test_the_tree_is_finished_before_its_refinement_is_planned(
    engine: Engine, network: CountingNetwork
) -> None:
    (waiting,) = submitted(engine, [job_of(network, AnytimeExplainer(3, budget=60))])
    waiting.done()
    levels = [each.explanation for each in waiting.updates if isinstance(each, Level)]
    assert [each.tree.depth for each in levels] == [0, 1, 2, 3, 3]
    assert largest_difference(levels[3], alone(AnytimeExplainer(3), 0)) < 1e-12


def test_after_each_tree_the_mean_so_far_is_finished(
    engine: Engine, network: CountingNetwork
) -> None:
    explainer = AnytimeExplainer(3, trees=4)
    (waiting,) = submitted(engine, [job_of(network, explainer)])
    assert largest_difference(waiting.explanation(), alone(explainer, 0)) < 1e-12
    found = [each.explanation for each in waiting.updates if isinstance(each, Level)]
    assert [each.tree.depth for each in found] == [0, 1, 2, 3, 3, 3]  # levels, then means
    for number, each in enumerate(found[3:], start=1):
        expected = alone(AnytimeExplainer(3, trees=number), 0)
        assert largest_difference(each, expected) < 1e-12
        np.testing.assert_allclose(each.density_map(1), expected.density_map(1), atol=1e-12)


@pytest.mark.parametrize("explainer", EXPLAINERS[:2])
def test_every_level_is_final(
    engine: Engine, network: CountingNetwork, explainer: AnytimeExplainer
) -> None:
    (waiting,) = submitted(engine, [job_of(network, explainer)])
    whole = waiting.explanation()
    levels = [each.explanation for each in waiting.updates if isinstance(each, Level)]
    assert [each.tree.depth for each in levels] == list(range(explainer.depth))
    for level in levels:
        expected = alone(
            AnytimeExplainer(level.tree.depth, explainer.contexts, explainer.variant), 0
        )
        assert largest_difference(level, expected) < 1e-12
        np.testing.assert_allclose(level.credits, whole.credits[: len(level.tree)], atol=1e-12)


def test_a_deeper_explanation_scores_only_the_new_rows(
    engine: Engine, network: CountingNetwork
) -> None:
    submitted(engine, [job_of(network, AnytimeExplainer(4))])[0].done()
    before = network.rows
    assert before == len(Plan.of(RegionTree.halving(16, 16, depth=4), "both"))
    submitted(engine, [job_of(network, AnytimeExplainer(6))])[0].done()
    assert network.rows == len(Plan.of(RegionTree.halving(16, 16, depth=6), "both"))
    # Another score of the same rows needs no row at all.
    submitted(engine, [job_of(network, AnytimeExplainer(6), score=log_odds)])[0].done()
    assert network.rows == len(Plan.of(RegionTree.halving(16, 16, depth=6), "both"))


def test_equal_explanations_in_flight_are_one(engine: Engine, network: CountingNetwork) -> None:
    jobs = [job_of(network, AnytimeExplainer(5, budget=400)) for _ in range(5)]
    found = [each.explanation() for each in submitted(engine, jobs)]
    assert all(each is found[0] for each in found)
    assert network.rows <= 400


@pytest.mark.parametrize("explainer", [AnytimeExplainer(8), AnytimeExplainer(5, budget=2000)])
def test_after_a_cancel_no_batch_begins(
    engine: Engine, network: CountingNetwork, explainer: AnytimeExplainer
) -> None:
    inside, go = held(network)
    waiting = Waiting()
    ticket = engine.submit(job_of(network, explainer), waiting)
    assert inside.wait(60)
    begun = len(network.batches)
    ticket.cancel()
    go.set()
    submitted(engine, [job_of(network, AnytimeExplainer(0), image=1)])[0].done()
    assert len(network.batches) == begun + 1  # the other explanation's
    assert not any(isinstance(each, Done | Failed) for each in waiting.updates)
    assert engine.backlog_s() == 0


def test_nobody_waits_for_what_only_the_patient_wait_for(
    engine: Engine, network: CountingNetwork
) -> None:
    inside, go = held(network)
    job = job_of(network, AnytimeExplainer(8))
    waiting = [Waiting(), Waiting()]
    engine.submit(job, waiting[0], is_patient=True)
    assert inside.wait(60)
    assert engine.backlog_s() == 0
    ticket = engine.submit(job, waiting[1])  # the same work, for somebody who waits
    assert engine.backlog_s() > 0.9 * engine.seconds(network, job.macs) > 0
    ticket.cancel()
    assert engine.backlog_s() == 0
    go.set()
    waiting[0].done()


def test_a_cancel_stops_the_choice_of_coalitions(engine: Engine) -> None:
    """Choosing 2000 coalitions of 256 regions takes seconds."""
    network = CountingNetwork(small_network())
    waiting = Waiting()
    ticket = engine.submit(job_of(network, AnytimeExplainer(8, budget=5000)), waiting)
    deadline = time.monotonic() + 60
    tree = len(Plan.of(RegionTree.halving(16, 16, depth=8), "both"))
    while network.rows < tree and time.monotonic() < deadline:
        time.sleep(0.01)
    ticket.cancel()
    engine.stop()  # waits for the planning threads
    assert network.rows == tree


def test_one_of_two_who_wait_may_leave(engine: Engine, network: CountingNetwork) -> None:
    inside, go = held(network)
    first, second = Waiting(), Waiting()
    ticket = engine.submit(job_of(network, AnytimeExplainer(3)), first)
    engine.submit(job_of(network, AnytimeExplainer(3)), second)
    assert inside.wait(60)
    ticket.cancel()
    go.set()
    assert second.done().complete
    assert not first.ended.is_set()


def test_at_the_deadline_the_finished_levels_are_the_answer(
    engine: Engine, network: CountingNetwork
) -> None:
    network.before = lambda: time.sleep(0.2)
    waiting = Waiting()
    explainer = AnytimeExplainer(8)
    engine.submit(job_of(network, explainer), waiting, deadline=time.monotonic() + 1.0)
    found = waiting.explanation()
    assert not waiting.done().complete
    assert 0 <= found.tree.depth < 8
    expected = alone(AnytimeExplainer(found.tree.depth), 0)
    assert largest_difference(found, expected) < 1e-12


def test_a_deadline_before_the_first_level_is_an_error(
    engine: Engine, network: CountingNetwork
) -> None:
    network.before_put = lambda: time.sleep(0.4)
    waiting = Waiting()
    engine.submit(job_of(network, AnytimeExplainer(2)), waiting, deadline=time.monotonic() + 0.2)
    found = waiting.answer()
    assert isinstance(found, Failed)
    assert isinstance(found.error, DeadlineError)


class Lender:
    """Scores lent rows in other threads as the network does; some calls fail, some are late."""

    def __init__(self, image: int, outcomes: Sequence[str]) -> None:
        self.evaluator = ExactInference.of(small_network()).evaluator(
            image_of(image), BASELINE, score=logit
        )
        self.outcomes = outcomes
        self.rows = 0
        self.calls = 0

    def __call__(self, masking: MaskedImages, repay: Callable[[Logits | None], None]) -> None:
        outcome = self.outcomes[self.calls % len(self.outcomes)]
        self.calls += 1

        def answer() -> None:
            if outcome == "late":
                time.sleep(0.3)
            logits = None if outcome == "nobody" else self.evaluator(masking)
            self.rows += 0 if logits is None else len(logits)
            repay(logits)

        threading.Thread(target=answer).start()


@pytest.mark.parametrize(
    "outcomes", [["scored"], ["nobody"], ["late"], ["scored", "nobody", "late", "scored"]]
)
@pytest.mark.parametrize("explainer", [AnytimeExplainer(7), AnytimeExplainer(3, budget=120)])
def test_rows_that_others_score_give_the_same_explanation(
    network: CountingNetwork,
    monkeypatch: pytest.MonkeyPatch,
    outcomes: list[str],
    explainer: AnytimeExplainer,
) -> None:
    monkeypatch.setattr(engine_module, "LOAN_S", 1e-4)
    monkeypatch.setattr(Speed, "quantum", 1e6)
    engine, lender = Engine(lend_s=1e-4), Lender(0, outcomes)
    (waiting,) = submitted(engine, [replace(job_of(network, explainer), lend=lender)])
    found, expected = waiting.explanation(), alone(explainer, 0)
    engine.stop()
    assert largest_difference(found, expected) < 1e-12
    assert lender.calls > 0
    if outcomes == ["nobody"]:
        assert network.rows == found.evaluations
    else:
        assert lender.rows > 0
        assert network.rows + lender.rows == found.evaluations  # each row once


def test_short_explanations_are_not_lent(engine: Engine, network: CountingNetwork) -> None:
    lender = Lender(0, ["scored"])
    job = replace(job_of(network, AnytimeExplainer(4)), lend=lender)
    submitted(engine, [job])[0].done()  # the first speed is a guess
    other = replace(
        job_of(network, AnytimeExplainer(4), image=1), lend=(second := Lender(1, ["scored"]))
    )
    submitted(engine, [other])[0].done()
    assert second.calls == 0


def test_who_left_is_not_lent_for(network: CountingNetwork) -> None:
    engine, lender = Engine(lend_s=1e-4), Lender(0, ["late"])
    ticket = engine.submit(replace(job_of(network, AnytimeExplainer(8)), lend=lender), Waiting())
    until_lent = time.monotonic() + 60
    while not lender.calls and time.monotonic() < until_lent:
        time.sleep(0.001)
    ticket.cancel()
    calls = lender.calls
    time.sleep(0.5)  # the late answers arrive
    assert lender.calls == calls
    assert engine.is_idle()
    engine.stop()


class Fragile(nn.Module):
    """Fails on images that begin with a number above 50."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_network()

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(M, 3)``."""
        if bool((images[:, 0, 0, 0] > 50).any()):
            raise ArithmeticError("too bright")
        logits: Tensor = self.inner(images)
        return logits


def test_only_the_faulty_explanation_fails(engine: Engine) -> None:
    network = CountingNetwork(Fragile().eval())
    jobs = [job_of(network, AnytimeExplainer(3), image=image) for image in range(3)]
    jobs[1].image[0, 0, 0] = 99
    good, bad, other = submitted(engine, jobs)
    failed = bad.answer()
    assert isinstance(failed, Failed)
    assert "too bright" in str(failed.error)
    for image, waiting in ((0, good), (2, other)):
        assert largest_difference(waiting.explanation(), alone(AnytimeExplainer(3), image)) < 1e-12
    # The image is not taken for one that is in its place, and the engine goes on.
    (again,) = submitted(engine, [job_of(network, AnytimeExplainer(1), image=1)])
    assert largest_difference(again.explanation(), alone(AnytimeExplainer(1), 1)) < 1e-12
    # The image's place is free again, and the engine goes on.
    assert submitted(engine, [job_of(network, AnytimeExplainer(2), image=5)])[0].done().complete


def test_a_score_that_fails_ends_its_explanation_alone(
    engine: Engine, network: CountingNetwork
) -> None:
    def broken(logits: Tensor) -> Tensor:
        raise ArithmeticError("no score")

    bad, good = submitted(
        engine,
        [job_of(network, AnytimeExplainer(2), score=broken), job_of(network, AnytimeExplainer(2))],
    )
    assert isinstance(bad.answer(), Failed)
    assert good.done().complete


def test_a_small_explanation_overtakes_a_large_one(
    engine: Engine, network: CountingNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Speed, "quantum", 1.0)  # a row of each
    large, small = submitted(
        engine,
        [
            job_of(network, AnytimeExplainer(8)),
            job_of(network, AnytimeExplainer(2), image=1),
        ],
    )
    small.done()
    assert not large.ended.is_set()
    large.done()


def test_a_network_may_be_traced_while_another_one_runs(
    engine: Engine, network: CountingNetwork
) -> None:
    """Tracing replaces the calls of all modules, also of those that other threads run."""
    waiting = submitted(engine, [job_of(network, AnytimeExplainer(8), image=i) for i in range(3)])
    traced = 0
    while not all(each.ended.is_set() for each in waiting):
        assert ExactInference.of(small_network()).traced is not None
        traced += 1
    assert traced > 1
    assert all(each.done().complete for each in waiting)


def test_a_stopped_engine_says_so_and_leaves_no_thread(network: CountingNetwork) -> None:
    before = threading.active_count()
    engine = Engine()
    inside, go = held(network)
    (waiting,) = submitted(engine, [job_of(network, AnytimeExplainer(6))])
    assert inside.wait(60)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    found = waiting.answer()
    assert isinstance(found, Failed)
    assert isinstance(found.error, CancelledError)
    go.set()
    stopping.join(60)
    assert threading.active_count() == before
    with pytest.raises(CancelledError, match="the engine was stopped"):
        engine.submit(job_of(network, AnytimeExplainer(1)), waiting)


def test_the_predicted_cost_is_what_is_spent(network: CountingNetwork) -> None:
    explainer = AnytimeExplainer(4)
    plan = Plan.of(RegionTree.halving(16, 16, depth=4), "both")
    predicted = explainer.macs(network.shape, network.costs, network.whole_macs)
    assert predicted == pytest.approx(network.costs(plan.masking).sum())
    fewer = AnytimeExplainer(4, budget=10).macs(network.shape, network.costs, network.whole_macs)
    assert fewer == pytest.approx(np.sort(network.costs(plan.masking))[-10:].sum())
    more = AnytimeExplainer(4, budget=160).macs(network.shape, network.costs, network.whole_macs)
    assert more == pytest.approx(predicted + (160 - len(plan)) * network.whole_macs)
    # Convolutions of 3x3 with 3 and 6 channels at 16x16 and 8x8, and the dense layer.
    assert network.whole_macs == 16 * 16 * 27 * 6 + 8 * 8 * 54 * 8 + 512 * 3
    assert probability is job_of(network, explainer).score
