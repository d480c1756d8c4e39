"""What users get wrong: twenty calls and more of each job, and what each is told."""

from __future__ import annotations

from support.wrong_calls.calls import WrongCall
from support.wrong_calls.experiment import EXPERIMENT
from support.wrong_calls.explain_service import EXPLAIN_SERVICE
from support.wrong_calls.inputs import write_inputs
from support.wrong_calls.jobs import JOBS
from support.wrong_calls.report import REPORT
from support.wrong_calls.study import STUDY

CALLS: list[WrongCall] = [
    *JOBS,
    *REPORT,
    *STUDY,
    *EXPERIMENT,
    *EXPLAIN_SERVICE,
]

__all__ = ["CALLS", "WrongCall", "write_inputs"]
