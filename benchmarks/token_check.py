"""How long the check of a token takes, wherever the token is in the file.

The time of a check must not tell how far a search went or how much of a token was right. 1,000
tokens are made; checked are the first, the last, an unknown one, and one that differs from the last
in its last character. Beside the service's check, a search that ends where it finds, and compares
with ``==``, shows that the benchmark would see a difference. All cases take turns in random order;
ratios are of medians, to the unknown token's. The exit code is 1 if a bar is missed, except with
--quick.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from serving.report import Bar

from ier_ray.serve.access import Guard
from ier_ray.serve.tokens import PREFIX, SECRET_BYTES, Token, hashed, write_tokens

TOKENS = 1_000
UNKNOWN = "unknown"
APART = 0.05
"""Most by which the median of a case may differ from that of an unknown token, relatively."""
SEEN = 0.5
"""Least by which that of the search differs, or the benchmark sees nothing."""

Check = Callable[[str], Token | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, a few seconds")
    given = parser.parse_args()
    repetitions = 300 if given.quick else 10_000
    known = [PREFIX + secrets.token_urlsafe(SECRET_BYTES) for _ in range(TOKENS)]
    almost = known[-1][:-1] + ("A" if known[-1][-1] != "A" else "B")
    cases = {
        "first": known[0],
        "last": known[-1],
        "almost the last": almost,
        UNKNOWN: PREFIX + secrets.token_urlsafe(SECRET_BYTES),
    }
    with tempfile.TemporaryDirectory() as name:
        file, now = str(Path(name) / "tokens.json"), datetime.now(UTC)
        tokens = tuple(
            Token(name=f"client-{number}", sha256=hashed(secret), created=now)
            for number, secret in enumerate(known)
        )
        write_tokens(file, tokens)
        checks = {"service": Guard(file, "async+memory://")._known, "search": search(tokens)}
    for secret in known[:: TOKENS // 10]:
        names = {found and found.name for found in (check(secret) for check in checks.values())}
        if len(names) != 1 or None in names:
            raise SystemExit(f"the checks find {names}")
    found = medians(checks, cases, repetitions)
    bars = []
    for check, limit, at_least in (("service", APART, False), ("search", SEEN, True)):
        unknown = found[check][UNKNOWN]
        print(f"{check}: {unknown:.1f} us for an unknown token")
        apart = {each: us / unknown - 1 for each, us in found[check].items() if each != UNKNOWN}
        print(*(f"  {each}: {value:+.2%}" for each, value in apart.items()), sep="\n")
        worst = max(abs(value) for value in apart.values())
        bars.append(Bar(f"largest difference of the {check}", worst, limit, at_least=at_least))
    print(*bars, sep="\n")
    print(json.dumps({"medians_us": found, "repetitions": repetitions}))
    missed = [bar for bar in bars if not bar.held]
    if missed and not given.quick:
        raise SystemExit(f"{len(missed)} bars were missed")


def search(tokens: tuple[Token, ...]) -> Check:
    """A check that ends where it finds."""

    def known(secret: str) -> Token | None:
        digest = hashed(secret)
        for token in tokens:
            if digest == token.sha256:
                return token
        return None

    return known


def medians(
    checks: dict[str, Check], cases: dict[str, str], repetitions: int
) -> dict[str, dict[str, float]]:
    """Median microseconds of every check of every case."""
    turns = [(check, case) for check in checks for case in cases]
    taken: dict[tuple[str, str], list[float]] = {turn: [] for turn in turns}
    draw = random.Random(0)
    for _ in range(repetitions):
        for check, case in draw.sample(turns, len(turns)):
            function, secret = checks[check], cases[case]
            began = time.perf_counter_ns()
            function(secret)
            taken[check, case].append((time.perf_counter_ns() - began) / 1000)
    return {check: {case: median(taken[check, case]) for case in cases} for check in checks}


if __name__ == "__main__":
    main()
