"""Named tokens of clients: made here, kept as hashes in a file.

    python -m ier_ray.serve.tokens create tokens.json ann --requests 600/minute --compute 60/minute
    python -m ier_ray.serve.tokens list tokens.json
    python -m ier_ray.serve.tokens revoke tokens.json ann

A token is shown once, when it is made. The file may be local or an s3:// URI.
"""

from __future__ import annotations

import argparse
import hashlib
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import limits
from pydantic import Field, ValidationError, field_validator, model_validator

from ier_ray import storage
from ier_ray.config import Settings, in_one_line
from ier_ray.errors import DataError, IerRayError, SettingsError

PREFIX = "ier_"
"""Begins every token, so that one that was published by mistake can be found."""
SECRET_BYTES = 32


class Token(Settings):
    """A client, and the hash of its token."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Who the client is; in logs."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the token. Tokens are random numbers of 256 bits: no slower hash is needed."""
    requests: str | None = None
    """Most requests, such as 600/minute; None: as many as the service can answer."""
    compute: str | None = None
    """Most predicted seconds of explanations, such as 60/minute; None: no limit."""
    created: datetime
    """When it was made."""

    @field_validator("requests", "compute")
    @classmethod
    def _is_a_limit(cls, value: str | None) -> str | None:
        try:
            return value if value is None or limits.parse(value) else None
        except ValueError as error:
            raise ValueError("use COUNT/UNIT, such as 600/minute or 10/second") from error


class TokenFile(Settings):
    """Content of a file of tokens."""

    version: Literal[1] = 1
    tokens: tuple[Token, ...] = ()

    @model_validator(mode="after")
    def _names_and_hashes_differ(self) -> TokenFile:
        for what in ("name", "sha256"):
            found = [getattr(token, what) for token in self.tokens]
            if len(set(found)) < len(found):
                raise ValueError(f"two tokens have the same {what}")
        return self


def hashed(secret: str) -> str:
    """What a file keeps of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read_tokens(location: str) -> tuple[Token, ...]:
    """The tokens of a file.

    Raises:
        StorageError: when it cannot be read.
        DataError: when it is no file of tokens.
    """
    try:
        return TokenFile.model_validate(storage.read_json(location)).tokens
    except ValidationError as error:
        raise DataError(f"{location}: is no file of tokens: {in_one_line(error)}") from error


def create_token(
    location: str, name: str, *, requests: str | None = None, compute: str | None = None
) -> str:
    """Add a token to a file, which need not exist; the token itself.

    Args:
        name, requests, compute: as of :class:`Token`.

    Raises:
        SettingsError: when the name or the limit is unusable, or the name is taken.
        DataError, StorageError: as :func:`read_tokens`, or when the file cannot be written.
    """
    tokens = read_tokens(location) if storage.exists(location) else ()
    if any(token.name == name for token in tokens):
        raise SettingsError(f"{location} has a token of {name!r} already: revoke it first")
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        token = Token(
            name=name, sha256=hashed(secret), requests=requests, compute=compute, created=now
        )
    except ValidationError as error:
        raise SettingsError(in_one_line(error)) from error
    write_tokens(location, (*tokens, token))
    return secret


def revoke_token(location: str, name: str) -> None:
    """Take a token out of a file.

    Raises:
        SettingsError: when it has none of that name.
        DataError, StorageError: as :func:`create_token`.
    """
    tokens = read_tokens(location)
    kept = tuple(token for token in tokens if token.name != name)
    if kept == tokens:
        known = ", ".join(token.name for token in tokens) or "none"
        raise SettingsError(f"{location} has no token of {name!r}; it has those of {known}")
    write_tokens(location, kept)


def write_tokens(location: str, tokens: Sequence[Token]) -> None:
    """Write a file of tokens, whole or not at all."""
    storage.write_json(location, TokenFile(tokens=tuple(tokens)).model_dump(mode="json"))


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ier_ray.serve.tokens",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a token and print it, once")
    revoke = commands.add_parser("revoke", help="make a token worthless")
    known = commands.add_parser("list", help="names, limits and dates")
    for command in (create, revoke, known):
        command.add_argument("file", help="file of tokens: a path or an s3:// URI")
    for command in (create, revoke):
        command.add_argument("name", help="who the client is")
    create.add_argument("--requests", help="most requests, such as 600/minute [no limit]")
    create.add_argument(
        "--compute", help="most seconds of explanations, such as 60/minute [no limit]"
    )
    given = parser.parse_args(arguments)
    try:
        if given.command == "create":
            most = {"requests": given.requests, "compute": given.compute}
            print(create_token(given.file, given.name, **most))  # noqa: T201
        elif given.command == "revoke":
            revoke_token(given.file, given.name)
        else:
            for token in read_tokens(given.file):
                asked = token.requests or "any number of"
                computed = token.compute or "any number of"
                print(  # noqa: T201
                    f"{token.name}\t{asked} requests\t{computed} seconds of explanations\t"
                    f"{token.created:%Y-%m-%d %H:%M}"
                )
    except IerRayError as error:
        print(f"tokens: error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
