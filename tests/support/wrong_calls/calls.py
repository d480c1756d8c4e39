"""A call that must be refused, and the calls that every job must refuse."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WrongCall:
    """A call of a job that must be refused."""

    job: str
    what: str
    arguments: tuple[str, ...]
    told: tuple[str, ...]
    """A part of each line that the user gets; with ``|`` between alternatives."""
    joins: bool = False
    """Whether only a cluster can tell."""

    def lines(self, inputs: dict[str, str]) -> list[list[str]]:
        """What is looked for in each line, any of which suffices."""
        return [line.format_map(inputs).split("|") for line in self.told]

    def __str__(self) -> str:
        return f"{self.job}: {self.what}"


def common(job: str, base: str, out: str = "output") -> list[WrongCall]:
    """What every job must refuse."""
    table = {
        "unknown setting": (f"{base} --no-such-thing 1", "--no-such-thing is not a setting"),
        "stray word": (f"stray {base}", "'stray' follows no setting"),
        "config missing": (f"{base} --config {{none}}", "--config {none}: no such file"),
        "config a folder": (f"{base} --config {{folder}}", "--config {folder}: cannot be read"),
        "config in Latin-1": (f"{base} --config {{latin}}", "is not in UTF-8"),
        "config in UTF-16": (f"{base} --config {{wide}}", "is not in UTF-8"),
        "config a list": (f"{base} --config {{list}}", "must hold a mapping"),
        "config with a key twice": (f"{base} --config {{twice}}", "'seed' is given twice"),
        "config is torn": (f"{base} --config {{torn}}", "is not YAML"),
        "config with an unknown key": (f"{base} --config {{unknown}}", "nmae is not a setting"),
        "near-URI": (f"{base} --{out} s3:/bucket/x", f"{out}: 's3:/bucket/x' is no location"),
        "other storage": (f"{base} --{out} gs://bucket/x", f"{out}: 'gs://bucket/x' is no locatio"),
        "no place": (f"{base} --{out}=", f"{out}: '' is no location"),
        "below a file": (f"{base} --{out} {{file}}/x", "file is a file, not a directory"),
    }
    return [WrongCall(job, what, tuple(a.split()), (told,)) for what, (a, told) in table.items()]


def calls(job: str, base: str, table: dict[str, tuple[str, str]]) -> list[WrongCall]:
    return [
        WrongCall(
            job,
            what,
            tuple(f"{base} {arguments}".split()),
            tuple(told.split(" | ")),
            joins="the cluster has" in told,
        )
        for what, (arguments, told) in table.items()
    ]
