"""Names of output files, one to one with the names of what they were made from."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping

LONGEST = 150
"""Bytes of a readable name: file systems take 255, of which endings and partial files need some."""
MARK = "@"
"""Before the hash that tells equal readable names apart; in no readable name."""
HASH_DIGITS = 12


def file_stems(wanted: Mapping[str, str], *, middles: Collection[str] = ("",)) -> dict[str, str]:
    """A file name, without a suffix, for each input: no two write the same file.

    An input's stem is the readable name wanted for it. Where two inputs would write a file of the
    same name, upper and lower case being one, each of them gets a hash of its own name as well:
    ``1@86f7e437faa5``. So a stem does not depend on the order of the inputs.

    Args:
        wanted: the readable name wanted for each input's own name, which no two inputs share.
        middles: what the files of one stem have between it and their suffix.
    """
    plain = {name: readable(text) for name, text in wanted.items()}
    files = {name: {_folded(f"{s}{m}") for m in middles} for name, s in plain.items()}
    writers = Counter(file for own in files.values() for file in own)
    return {
        name: stem
        if all(writers[file] == 1 for file in files[name])
        else f"{stem}{MARK}{_hash(name)}"
        for name, stem in plain.items()
    }


def readable(text: str) -> str:
    """The text with everything but letters, digits, ``_``, ``.`` and ``-`` replaced by ``_``.

    It does not begin with a dot, is not empty, and is cut to :data:`LONGEST` bytes.
    """
    safe = re.sub(r"^\.+|[^\w.-]", "_", unicodedata.normalize("NFC", text)) or "_"
    return safe.encode()[:LONGEST].decode(errors="ignore")


def _folded(name: str) -> str:
    """What names have in common that are one on file systems which ignore case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:HASH_DIGITS]
