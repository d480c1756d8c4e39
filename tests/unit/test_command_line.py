from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field

from ier_ray.command_line import from_command_line
from ier_ray.config import Location, Locations, Settings, parse_settings
from ier_ray.errors import SettingsError


class Layout(Settings):
    """How it is divided."""

    max_bad: int = Field(0, ge=0)
    """At most 100%."""
    resize: int | None = Field(None, ge=32)
    """Shorter side."""


class Interval(Settings):
    """From and to."""

    low: float
    """Smallest."""
    high: float
    """Largest."""


class Search(Settings):
    """What is tried."""

    rate: Interval = Interval(low=1.0, high=2.0)
    mode: Literal["fast", "slow", "both"] = "fast"
    """How."""


class Job(Settings):
    """A job of every type."""

    flat: ClassVar[tuple[str, ...]] = ("layout",)

    name: str = "job"
    """Its name."""
    target: str | None = None
    """A class."""
    rate: float = 0.5
    """A number."""
    use_gpu: bool = False
    """On a GPU."""
    images: list[str] = Field(default_factory=list)
    """Files."""
    sizes: list[int] = Field(default_factory=list)
    """Sides."""
    path: Locations = Field(default_factory=list)
    """Folders."""
    output: Location | None = None
    """A file."""
    layout: Layout = Layout()
    search: Search = Search(rate=Interval(low=1.0, high=3.0))


class Nested(Settings):
    """A job with a section that must be given."""

    val_fold: int
    job: Job = Job(name="other")
    range: Interval


def read(*flags: str) -> Job:
    return from_command_line(Job, flags, program="job", purpose="Do it.")


def refused(*flags: str, kind: type[Settings] = Job) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        from_command_line(kind, flags, program="job", purpose="Do it.")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    "text",
    ["#ff0000", "runs/a #2", "*.png", "&a", "no", "1e3", "2024", "~", "none", "[a, b]", "a: b",
     "'quoted'", '"quoted"', " spaces ", "", "{a: 1}", "5%", "2024-01-01", "!!int 3",
     "/o/my out #2", "@x", "[a[1].png]", "on", "12:30"],
)  # fmt: skip
def test_text_is_taken_as_it_is(text: str) -> None:
    assert read("--name", text).name == text
    assert read(f"--name={text}").name == text


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (["--rate", "1e3"], "rate", 1000.0),
        (["--rate", "-2"], "rate", -2.0),
        (["--rate=-1e-3"], "rate", -0.001),
        (["--use-gpu", "true"], "use_gpu", True),
        (["--use_gpu", "yes"], "use_gpu", True),
        (["--use-gpu"], "use_gpu", True),
        (["--use-gpu", "--rate", "2"], "use_gpu", True),
        (["--use-gpu=no"], "use_gpu", False),
        (["--target", "none"], "target", None),
        (["--target", "null"], "target", None),
        (["--target", "2024"], "target", "2024"),
        (["--target", "no"], "target", "no"),
        (["--name", "a", "--name", "b"], "name", "b"),
        (["--images", "a.jpg"], "images", ["a.jpg"]),
        (["--images", "a.jpg", "b #2.png", "2024", "true"], "images",
         ["a.jpg", "b #2.png", "2024", "true"]),
        (["--images", "a, b.jpg", 'say "hi".png', "[2].png", "{1}.png"], "images",
         ["a, b.jpg", 'say "hi".png', "[2].png", "{1}.png"]),
        (["--images", "a.jpg", "--images", "b.png", "c.png"], "images",
         ["a.jpg", "b.png", "c.png"]),
        (["--images", "[a.jpg, b.png]"], "images", ["a.jpg", "b.png"]),
        (["--images=[a.jpg,b.png,]"], "images", ["a.jpg", "b.png"]),
        (["--images", "[a #2.jpg, *.png, 2024, no, none]"], "images",
         ["a #2.jpg", "*.png", "2024", "no", "none"]),
        (["--images", '["a.jpg", "b,c \\u00e9.png"]'], "images", ["a.jpg", "b,c é.png"]),
        (["--images", "['a, b.jpg', \"c.png\", don't.jpg]"], "images",
         ["a, b.jpg", "c.png", "don't.jpg"]),
        (["--images", "[2024]"], "images", ["2024"]),
        (["--images", "[2024]", "b.png"], "images", ["[2024]", "b.png"]),
        (["--images", "[]"], "images", []),
        (["--images", "none"], "images", ["none"]),
        (["--images", "/o/my out #2", "*.png", "@x", "[a[1].png]", "2024", "on", "12:30"],
         "images", ["/o/my out #2", "*.png", "@x", "[a[1].png]", "2024", "on", "12:30"]),
        (["--images", "[/o/my out #2, *.png, @x, '[a[1].png]', 2024, on, 12:30]"], "images",
         ["/o/my out #2", "*.png", "@x", "[a[1].png]", "2024", "on", "12:30"]),
        (["--images", "[a]", "--images", "[b, c]"], "images", ["a", "b", "c"]),
        (["--sizes", "1", "2"], "sizes", [1, 2]),
        (["--sizes", "[1, 2]"], "sizes", [1, 2]),
        (["--path", "~/a #2, b"], "path", ["~/a #2, b"]),
        (["--path", "none"], "path", ["none"]),
        (["--path", "a", "b"], "path", ["a", "b"]),
        (["--path", "a", "--path", "b"], "path", ["a", "b"]),
        (["--path", "[a]"], "path", ["a"]),
        (["--path", "[a, b]"], "path", ["a", "b"]),
    ],
)  # fmt: skip
def test_a_value_is_read_by_the_type_of_its_field(flags: list[str], name: str, value: Any) -> None:
    assert getattr(read(*flags), name) == value


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        (["--rat", "1"],
         ["command line: --rat is not a setting; did you mean --rate? --help lists all"]),
        (["--search.rat.low=1"], ["command line: --search.rat.low is not a setting; "
                                  "did you mean --search.rate.low? --help lists all"]),
        (["--low", "1"], ["command line: --low is not a setting; "
                          "did you mean --search.rate.low? --help lists all"]),
        (["--maxbad", "1"],
         ["command line: --maxbad is not a setting; did you mean --max-bad? --help lists all"]),
        (["--xyzzy", "1", "--rate", "2", "-q"],
         ["command line: --xyzzy is not a setting; --help lists all",
          "command line: -q is not a setting; --help lists all"]),
        (["--name", "a", "b"], ["command line: 'b' follows no setting: write --SETTING VALUE, "
                                "with quotes around a value that has spaces"]),
        (["--rate"], ["command line: argument --rate: expected one argument"]),
        (["--images"], ["command line: argument --images: expected at least one argument"]),
        (["--search", "3"],
         ["command line: --search is not a setting; did you mean --search.mode? --help lists all"]),
        (["--rate", "fast"], ["command line: rate: Input should be a valid number, "
                              "unable to parse string as a number, got 'fast'"]),
        (["--rate", "nan"],
         ["command line: rate: Input should be a finite number, got 'nan'"]),
        (["--max_bad", "1e3"], ["command line: max_bad: Input should be a valid integer, "
                                "unable to parse string as an integer, got '1e3'"]),
        (["--max-bad", "-1", "--layout.resize", "8"],
         ["command line: max_bad must be >= 0, got -1",
          "command line: resize must be >= 32, got 8"]),
        (["--search.mode", "quick"],
         ["command line: search.mode must be 'fast', 'slow' or 'both', got 'quick'"]),
        (["--use-gpu", "maybe"], ["command line: use_gpu: Input should be a valid boolean, "
                                  "unable to interpret input, got 'maybe'"]),
        (["--sizes", "1", "b"], ["command line: sizes.1: Input should be a valid integer, "
                                 "unable to parse string as an integer, got 'b'"]),
        (["--config", "nowhere.yaml"],
         ["--config nowhere.yaml: no such file"]),
    ],
)  # fmt: skip
def test_each_problem_is_one_line_of_what_came_and_what_is_allowed(
    flags: list[str], lines: list[str]
) -> None:
    assert refused(*flags) == lines


def test_every_missing_setting_is_named_with_its_flag() -> None:
    assert refused(kind=Nested) == [
        f"command line: {name} is required; set it in the file or with --{flag}"
        for name, flag in [
            ("val_fold", "val-fold"),
            ("range.low", "range.low"),
            ("range.high", "range.high"),
        ]
    ]


def test_a_section_given_in_part_keeps_the_rest_of_its_default() -> None:
    settings = read("--search.rate.low", "0.5", "--search.mode", "slow")
    assert settings.search == Search(rate=Interval(low=0.5, high=3.0), mode="slow")
    nested = parse_settings(
        Nested, {"val_fold": 0, "range": {"low": 0, "high": 1}, "job": {"rate": 2}}, source="x"
    )
    assert (nested.job.name, nested.job.rate) == ("other", 2)


@pytest.mark.parametrize("spelling", ["--max-bad", "--max_bad", "--layout.max-bad",
                                      "--layout.max_bad"])  # fmt: skip
def test_a_flat_section_lends_short_names(spelling: str) -> None:
    assert read(spelling, "5", "--resize", "none").layout == Layout(max_bad=5)


def test_flags_win_over_the_file_where_both_may_be_flat(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("max_bad: 3\nlayout: {resize: 64}\nrate: 1e-3\nsearch: {rate: {high: 9}}\n")
    settings = read("--config", str(file), "--layout.resize", "128")
    assert settings.layout == Layout(max_bad=3, resize=128)
    assert settings.rate == 0.001
    assert settings.search.rate == Interval(low=1.0, high=9.0)
    assert read("--max-bad", "4", "--config", str(file)).layout == Layout(max_bad=4, resize=64)


@pytest.mark.parametrize(
    ("text", "flags", "lines"),
    [
        ("max_bad: -3", ["--rate", "x"],
         ["command line: rate: Input should be a valid number, unable to parse string as a number, "
          "got 'x'", "FILE: max_bad must be >= 0, got -3"]),
        ("name: [2024]", [], ["FILE: name: Input should be a valid string, got ['2024']"]),
        ("name:", [], ["FILE: name: Input should be a valid string, got None"]),
        ("images: a.png", [], ["FILE: images: Input should be a valid list, got 'a.png'"]),
        ("path: [a, {b: c}]", [], ["FILE: path.1: Input should be a valid string, got {'b': 'c'}"]),
        ("output: s3:/b", ["--path", "a", "gs://b"],
         ["command line: path.1: 'gs://b' is no location: give a local path, s3://bucket/prefix "
          "or file:///path (./gs://b, if it is the name of a local file), got 'gs://b'",
          "FILE: output: 's3:/b' is no location: give a local path, s3://bucket/prefix "
          "or file:///path (./s3:/b, if it is the name of a local file), got 's3:/b'"]),
        ("maxbad: 3", [], ["FILE: maxbad is not a setting; did you mean max_bad? valid here: name, "
                           "target, rate, use_gpu, images, sizes, path, output, layout, search, "
                           "max_bad, resize"]),
        ("max_bad: 1\nlayout: {max_bad: 2}", [],
         ["FILE: max_bad is given twice, also as layout.max_bad"]),
        ("layout: 3", ["--max-bad", "1"],
         ["FILE: layout.max_bad: layout is '3', not a section"]),
        ("layout: 3\nmax_bad: 1", [], ["FILE: layout.max_bad: layout is '3', not a section"]),
        ("layout: 3", [], ["FILE: layout: Input should be a valid dictionary or instance of "
                           "Layout, got '3'"]),
    ],
)  # fmt: skip
def test_problems_say_whether_the_file_or_a_flag_is_wrong(
    text: str, flags: list[str], lines: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    assert refused("--config", str(file), *flags) == [
        line.replace("FILE", str(file)) for line in lines
    ]


TEXTS = [
    "2024", "on", "No", "12:30", "1_000", "2024-01-01", "1e3", "0x10", ".inf", "=", "<<",
    "'#ff0000'", '"/o/my out #2"', "'*.png'", "'@x'", "'[a[1].png]'", "'null'", "'~'",
]  # fmt: skip


@pytest.mark.parametrize("written", TEXTS)
def test_text_in_a_file_is_taken_as_it_is(written: str, tmp_path: Path) -> None:
    """What YAML calls a number, a truth value, a time or a date."""
    file = tmp_path / "job.yaml"
    file.write_text(f"name: {written}\ntarget: {written}\nimages: [{written}]\npath: {written}\n")
    settings, text = read("--config", str(file)), written.strip("'\"")
    assert (settings.name, settings.target) == (text, text)
    assert settings.images == settings.path == [text]


def test_other_values_in_a_file_are_read_by_the_type_of_their_field(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        "rate: 8e-5\nuse_gpu: on\nsizes: [1, '2']\nresize: null\ntarget: ~\nmax_bad: 7\n"
        "search: {mode: slow}\n"
    )
    settings = read("--config", str(file), "--name", "x")
    assert (settings.rate, settings.use_gpu, settings.sizes) == (8e-5, True, [1, 2])
    assert (settings.target, settings.layout) == (None, Layout(max_bad=7))
    assert settings.search.mode == "slow"


def test_two_settings_of_one_name_are_a_programming_error() -> None:
    with pytest.raises(TypeError, match=r"Clash: max_bad: two settings of one name"):

        class Clash(Settings):
            flat: ClassVar[tuple[str, ...]] = ("layout",)

            max_bad: int = 0
            layout: Layout = Layout()


def test_a_flat_section_must_be_a_section() -> None:
    with pytest.raises(TypeError, match=r"NoSection: flat: 'size' is not a section"):

        class NoSection(Settings):
            flat: ClassVar[tuple[str, ...]] = ("size",)

            size: int = 0


HELP = """\
usage: job [--config FILE] [--SETTING VALUE ...]

Do it.

options:
  -h, --help            show this help message and exit
  --config FILE         YAML file with any of the settings below

settings:
  A job of every type.

  --name TEXT           Its name. [default: job]
  --target TEXT         A class. [default: none]
  --rate NUMBER         A number. [default: 0.5]
  --use-gpu [{true,false}]
                        On a GPU. [default: false]
  --images TEXT [TEXT ...]
                        Files. [default: []]
  --sizes INTEGER [INTEGER ...]
                        Sides. [default: []]
  --path TEXT [TEXT ...]
                        Folders. [default: []]
  --output TEXT         A file. [default: none]

layout:
  How it is divided.

  --max-bad INTEGER     At most 100%. [default: 0]
  --resize INTEGER      Shorter side. [default: none]

search:
  What is tried.

  --search.mode NAME    How. [default: fast; one of fast, slow, both]

search.rate:
  From and to.

  --search.rate.low NUMBER
                        Smallest. [default: 1.0]
  --search.rate.high NUMBER
                        Largest. [default: 3.0]
"""


def test_help_has_a_section_for_each_class_with_types_choices_and_defaults(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        read("--help")
    assert ended.value.code == 0
    assert capsys.readouterr().out == HELP
