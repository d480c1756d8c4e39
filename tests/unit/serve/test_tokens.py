"""Files of tokens, and the command that makes them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from ier_ray.errors import DataError, SettingsError
from ier_ray.serve.tokens import create_token, main, read_tokens, revoke_token


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "tokens.json")


def test_only_the_hash_of_a_token_is_kept(file: str) -> None:
    secret = create_token(file, "ann", requests="600/minute", compute="60/hour")
    (token,) = read_tokens(file)
    assert token.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert (token.name, token.requests, token.compute) == ("ann", "600/minute", "60/hour")
    assert secret not in Path(file).read_text()


def test_tokens_differ_and_a_revoked_one_is_gone(file: str) -> None:
    secrets = {create_token(file, name) for name in ("ann", "bob", "eve")}
    assert len(secrets) == 3
    revoke_token(file, "bob")
    assert [token.name for token in read_tokens(file)] == ["ann", "eve"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("create", "ann"), "has a token of 'ann' already: revoke it first"),
        (("create", "a b"), "name: String should match pattern"),
        (("create", "bob", "--requests", "many"), "requests: .*use COUNT/UNIT"),
        (("create", "bob", "--compute", "much"), "compute: .*use COUNT/UNIT"),
        (("revoke", "bob"), "has no token of 'bob'; it has those of ann"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    file: str, call: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create_token(file, "ann")
    before = Path(file).read_bytes()
    command, *rest = call
    assert main([command, file, *rest]) == 1
    assert re.search(said, capsys.readouterr().err)
    assert Path(file).read_bytes() == before


def test_the_command_shows_a_token_once(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", file, "ann", "--requests", "10/second"]) == 0
    secret = capsys.readouterr().out.strip()
    assert main(["list", file]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith("ann\t10/second requests\tany number of seconds of explanations\t")
    assert secret not in listed
    assert main(["revoke", file, "ann"]) == 0
    assert read_tokens(file) == ()


HASH, TIME = "0" * 64, "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"tokens": [{"name": "ann", "sha256": "abc", "created": TIME}]}, "sha256"),
        ({"tokens": [{"name": "ann", "sha256": HASH, "secret": "x", "created": TIME}]}, "secret"),
        ({"tokens": [{"name": n, "sha256": HASH, "created": TIME} for n in "ab"]}, "same sha256"),
        ({"version": 2, "tokens": []}, "version"),
        ([], "is no file of tokens"),
    ],
)
def test_a_file_that_is_none_is_refused(file: str, content: object, said: str) -> None:
    Path(file).write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        read_tokens(file)


def test_a_second_token_of_a_client_needs_another_name(file: str) -> None:
    create_token(file, "ann")
    with pytest.raises(SettingsError, match="revoke it first"):
        create_token(file, "ann")
