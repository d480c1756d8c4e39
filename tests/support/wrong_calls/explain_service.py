"""What users get wrong when they explain pictures through a service."""

from __future__ import annotations

from pathlib import Path

from support.wrong_calls.calls import WrongCall, calls


def write_tokens(root: Path) -> dict[str, str]:
    """Files that hold no token, and an empty folder, by the names that the calls have for them."""
    contents = {"no_token": b" \n", "odd_token": "tökén".encode(), "words_token": b"two words"}
    for name, content in contents.items():
        (root / name).write_bytes(content)
    (root / "empty").mkdir()
    return {name: str(root / name) for name in (*contents, "empty")}


HERE = "--server http://127.0.0.1:9 --images {picture}"
TABLE = {
    "service and checkpoint": (f"{HERE} --checkpoint {{checkpoint}}", "either checkpoint or serv"),
    "neither": ("--images {picture}", "give either checkpoint or server"),
    "nothing to explain": ("--server http://127.0.0.1:9", "give either images or shards"),
    "a shard set": ("--server http://127.0.0.1:9 --shards {ier}", "shards: can be used with check"),
    "workers": (f"{HERE} --workers 2", "workers: can be used with checkpoint alone"),
    "a fold": (f"{HERE} --fold 1", "fold: can be used with checkpoint alone"),
    "a token for a checkpoint": (
        "--checkpoint {checkpoint} --images {picture} --token-file {file}",
        "token_file: can be used with server alone",
    ),
    "at once from a checkpoint": (
        "--checkpoint {checkpoint} --images {picture} --at-once 2",
        "at_once: can be used with server alone",
    ),
    "jobs from a checkpoint": (
        "--checkpoint {checkpoint} --images {picture} --as-jobs",
        "as_jobs: can be used with server alone",
    ),
    "jobs that are neither": (
        f"{HERE} --as-jobs perhaps",
        "as_jobs: Input should be a valid bool",
    ),
    "jobs of no port": ("--server http://host:many --images {picture} --as-jobs", "is no address"),
    "jobs of nobody": (f"{HERE} --as-jobs --at-once 0", "at_once must be >= 1, got 0"),
    "jobs over an image": (
        f"{HERE} --as-jobs --output {{root}}/pictures/happy",
        "{picture}: an explanation would be written over it",
    ),
    "none at once": (f"{HERE} --at-once 0", "at_once must be >= 1, got 0"),
    "too many at once": (f"{HERE} --at-once 1000", "at_once must be <= 64, got 1000"),
    "an address without a scheme": (
        "--server localhost:8000 --images {picture}",
        "server: 'localhost:8000' is no address such as https://HOST:PORT",
    ),
    "an address of files": ("--server ftp://host --images {picture}", "is no address such as"),
    "a port that is none": ("--server http://host:many --images {picture}", "is no address"),
    "a query": ("--server http://host/?a=1 --images {picture}", "is no address such as"),
    "a password": (
        "--server http://ann:word@host --images {picture}",
        "leave user and password out of the address, give a token",
    ),
    "token missing": (f"{HERE} --token-file {{none}}", "none: no such file"),
    "token file a folder": (f"{HERE} --token-file {{folder}}", "folder: cannot be read"),
    "token file empty": (f"{HERE} --token-file {{no_token}}", "no_token is empty"),
    "token not in ASCII": (f"{HERE} --token-file {{odd_token}}", "odd_token holds no token"),
    "token of two words": (f"{HERE} --token-file {{words_token}}", "token: must be one word of"),
    "a folder without pictures": (
        "--server http://127.0.0.1:9 --images {empty}",
        "images: {empty} has no pictures",
    ),
    "output over an image": (
        f"{HERE} --output {{root}}/pictures/happy",
        "{picture}: an explanation would be written over it",
    ),
    "output a file": (f"{HERE} --output {{file}}", "is a file, not a directory"),
    "too deep": (f"{HERE} --depth 99", "depth must be <= 14, got 99"),
}

EXPLAIN_SERVICE: list[WrongCall] = calls("explain", "--output {root}/new", TABLE)
