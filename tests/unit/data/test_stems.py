"""File names of outputs: one to one with names, readable, and stable where nothing clashes."""

from __future__ import annotations

import random
import unicodedata

import pytest

from ier_ray.data.stems import LONGEST, file_stems

MIDDLES = ("", "-levels")


def written(names: list[str]) -> list[str]:
    """Every file that is written for the names, as a file system sees it that ignores case."""
    found = file_stems({name: name for name in names}, middles=MIDDLES)
    return [
        unicodedata.normalize("NFD", f"{stem}{middle}.png").casefold()
        for stem in found.values()
        for middle in MIDDLES
    ]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("scene", "scene"),
        ("IMG_1234-2.final", "IMG_1234-2.final"),
        ("x y", "x_y"),
        ("happy/img1", "happy_img1"),
        ("größe 日本", "größe_日本"),
        ("..", "_"),
        ("../../etc/passwd", "__.._etc_passwd"),
        (".hidden", "_hidden"),
        ("", "_"),
        ("a@b", "a_b"),
        ("a\0b\nc\\d:e*f?", "a_b_c_d_e_f_"),
        ("not \udcff text", "not___text"),
        ("é" * 300, "é" * (LONGEST // 2)),
        ("x-levels", "x-levels"),
    ],
)
def test_a_name_that_clashes_with_none_stays_readable(name: str, stem: str) -> None:
    assert file_stems({name: name}, middles=MIDDLES) == {name: stem}
    assert file_stems({name: name, "other": "other"}, middles=MIDDLES)[name] == stem


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x y", "x_y"),
        ("a/b", "a_b"),
        ("x", "X"),
        ("x", "x-levels"),
        ("X-Levels", "x"),
        ("é", "e\u0301"),
        ("ﬁ", "fi"),
        (".x", "..x"),
        ("", "_"),
        ("ß", "ss"),
        ("y" * 300, "y" * 301),
    ],
)
def test_names_that_clash_get_their_own_hash_each(first: str, second: str) -> None:
    found = file_stems({first: first, second: second}, middles=MIDDLES)
    assert len(set(written([first, second]))) == 4
    assert all(len(stem.partition("@")[2]) == 12 for stem in found.values())
    assert file_stems({second: second, first: first}, middles=MIDDLES) == found


def test_files_of_one_title_are_told_apart_by_their_names() -> None:
    found = file_stems({"a/1.png": "1", "b/1.png": "1", "b/1.jpg": "1", "c/2.png": "2"})
    assert len(set(found.values())) == 4
    assert [stem.partition("@")[0] for stem in found.values()] == ["1", "1", "1", "2"]
    assert found["c/2.png"] == "2"
    assert found["a/1.png"] == file_stems({"b/1.png": "1", "a/1.png": "1"})["a/1.png"]


PIECES = ["x", "X", "y", " ", "_", "-levels", "-", ".", "..", "/", "@", "é", "e\u0301", "ß", "ss",
          "1", "日", "\udcff", "w" * 160]  # fmt: skip


@pytest.mark.parametrize("seed", range(300))
def test_no_two_names_write_the_same_file(seed: int) -> None:
    draw = random.Random(seed)
    names = {"".join(draw.choices(PIECES, k=draw.randint(0, 4))) for _ in range(60)}
    found = file_stems({name: name for name in names}, middles=MIDDLES)
    names |= {*found.values()}  # also names that look like the stems of others
    files = written(sorted(names))
    assert len(set(files)) == len(files) == 2 * len(names)
    for file in files:
        assert not set(file) & set('/\\:*?"<>|\0\n')
        assert not file.startswith(".")
        assert len(file.encode()) < 255 - len(".") - 32 - len(".partial")
