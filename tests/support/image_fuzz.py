"""Decodes mutated image files; run as ``python -m support.image_fuzz COUNT SEED``.

It runs in a process of its own, whose memory is limited. A file that takes longer than
``SECONDS_PER_FILE`` ends the process with a traceback, also from within a decoder written in C.
The last line is a JSON record.
"""

from __future__ import annotations

import faulthandler
import json
import random
import resource
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable

from ier_ray.data.images import decode_mask, decode_rgb
from ier_ray.errors import ImageError

from .image_files import variants

MAX_PIXELS = 1_000_000
EXTRA_BYTES = 256 * 2**20
"""Address space that decoding may take."""

SECONDS_PER_FILE = 10
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def _flip_bits(file: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        file[draw.randrange(len(file))] ^= 1 << draw.randrange(8)


def _overwrite(file: bytearray, draw: random.Random) -> None:
    at, number = draw.randrange(len(file)), draw.choice(EXTREMES)
    order = draw.choice("<>")
    field = (
        struct.pack(order + "I", number) if number > 0xFFFF else struct.pack(order + "H", number)
    )
    file[at : at + len(field)] = field


def _in_the_header(file: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 2, 3))):
        file[draw.randrange(min(len(file), 100))] = draw.randrange(256)


def _truncate(file: bytearray, draw: random.Random) -> None:
    del file[draw.randrange(len(file)) :]


def _remove(file: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(file))
    del file[at : at + draw.choice((1, 2, 4, 8, 100))]


def _repeat(file: bytearray, draw: random.Random) -> None:
    at, length = draw.randrange(len(file)), draw.choice((1, 2, 4, 8, 100))
    file[at:at] = file[at : at + length] * draw.choice((1, 2, 50))


def _insert(file: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(file))
    file[at:at] = draw.randbytes(draw.choice((1, 2, 4, 40)))


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bits,
    _overwrite,
    _in_the_header,
    _truncate,
    _remove,
    _repeat,
    _insert,
)


def mutated(file: bytes, draw: random.Random) -> bytes:
    """The file after one to three changes; half of all PNGs get right checksums again."""
    changed = bytearray(file)
    for _ in range(draw.choice((1, 1, 2, 3))):
        draw.choice(MUTATIONS)(changed, draw)
        changed = changed or bytearray(file)
    if changed.startswith(b"\x89PNG") and draw.random() < 0.5:
        return _with_checksums(bytes(changed))
    return bytes(changed)


def _with_checksums(png: bytes) -> bytes:
    out, at = [png[:8]], 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4])
        out += [png[at:end], zlib.crc32(png[at + 4 : end]).to_bytes(4)]
        at = end + 4
    return b"".join(out)


def _address_space() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 (no file of a person)
        return int(file.read().split()[0]) * resource.getpagesize()


def main(count: int, seed: int) -> None:
    files = variants()
    for variant in (file for several in files.values() for file in several):
        decode_rgb(variant)  # all decoders are loaded before the limit is set
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + EXTRA_BYTES,) * 2)
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in files}
    escaped: Counter[str] = Counter()
    warned: list[str] = []
    warnings.showwarning = lambda message, *_: warned.append(str(message))
    before, slowest, started = _peak_mib(), 0.0, time.perf_counter()
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        name = sorted(files)[number % len(files)]
        content = mutated(draw.choice(files[name]), draw)
        faulthandler.dump_traceback_later(SECONDS_PER_FILE, exit=True)
        begun = time.perf_counter()
        try:
            if number % 20:
                decode_rgb(content, max_pixels=MAX_PIXELS)
            else:
                decode_mask(content, 16)
            outcomes[name]["decoded"] += 1
        except ImageError as error:
            outcomes[name][error.reason] += 1
            if "enough memory" in str(error):
                escaped[f"{name}: memory, file {number}"] += 1
        except BaseException as error:  # noqa: BLE001 (this is what is counted)
            escaped[f"{name}: {type(error).__name__}: {error}, file {number}"] += 1
        slowest = max(slowest, time.perf_counter() - begun)
        faulthandler.cancel_dump_traceback_later()
    record = {
        "files": count,
        "formats": outcomes,
        "escaped": escaped,
        "warnings": warned,
        "extra_mib": round(_peak_mib() - before, 1),
        "slowest_s": round(slowest, 3),
        "seconds": round(time.perf_counter() - started, 1),
    }
    sys.stdout.write(json.dumps(record) + "\n")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
