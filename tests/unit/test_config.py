from __future__ import annotations

from pathlib import Path

import pytest
from support.runs import ROOT

from ier_ray.command_line import from_command_line
from ier_ray.config import parse_settings, read_settings_file
from ier_ray.errors import SettingsError
from ier_ray.training.settings import TrainSettings

MINIMAL = "data: {fer: a, ier: b}\n"


def load(tmp_path: Path, text: str, *flags: str) -> TrainSettings:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return from_command_line(
        TrainSettings, ["--config", str(file), *flags], program="train", purpose="x"
    )


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        MINIMAL + "loss: {balance: 0.25}\noptimizer: {learning_rate: 8e-5}\n",
        "--loss.balance",
        "0.5",
        "--optimizer.batch-size=4",
        "--scaling.use_gpu",
        "true",
    )
    assert settings.loss.balance == 0.5
    assert settings.optimizer.batch_size == 4
    assert settings.optimizer.learning_rate == 8e-5
    assert settings.scaling.use_gpu is True
    assert settings.schedule.epochs == 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("los: {balance: 1}", "los is not a setting; did you mean loss?"),
        ("loss: {balanse: 1}", "loss.balanse is not a setting; did you mean balance? valid here:"),
        ("loss: {balance: -1}", "loss.balance must be >= 0, got -1"),
        (
            "loss: {discrepancy: l2}",
            "loss.discrepancy must be 'same_image', 'paired', 'class_mean'",
        ),
        (
            "model: {image_size: 100}",
            "model.image_size: Input should be a multiple of 32, got '100'",
        ),
        ("loss: 3", "loss: Input should be a valid dictionary"),
        ("loss: {balance: nan}", "loss.balance: Input should be a finite number"),
        ("seed: 4294967296", "seed must be < 4294967296, got 4294967296"),
        ("storage: s3:/bucket/x", "storage: 's3:/bucket/x' is no location"),
        ("schedule: {pretrained: http://h/x.pth}", "schedule.pretrained: 'http://h/x.pth' is no"),
        ("schedule: {patience: 0}", "schedule.patience must be >= 1, got 0"),
        ("optimizer: {clip_norm: 0}", "optimizer.clip_norm must be > 0, got 0"),
        ("optimizer: {precision: half}", "optimizer.precision must be 'float32' or 'bfloat16'"),
        (
            "loss: {supervision: fer, discrepancy: paired}",
            "loss.discrepancy paired reads IER labels, which loss.supervision fer forbids",
        ),
        (
            "loss: {discrepancy: dann}\nschedule: {alignment: per_epoch}",
            "dann is adversarial and needs the cross-entropy in the same step: use per_step",
        ),
        (
            "loss: {discrepancy: mmd}\noptimizer: {compile: true}",
            "optimizer.compile cannot be used with loss.discrepancy mmd",
        ),
        ("schedule: {epochs: 2, warmup_epochs: 3}", "schedule.warmup_epochs (3) must not exceed"),
        ("scaling: {num_workers: 2, min_workers: 3}", "min_workers (3) must not exceed num_worke"),
    ],
)
def test_bad_values_name_the_field_the_value_and_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, MINIMAL + text)
    assert message in str(caught.value)


def test_source_only_may_name_any_discrepancy(tmp_path: Path) -> None:
    text = "loss: {supervision: fer, discrepancy: paired, balance: 0}\n"
    assert load(tmp_path, MINIMAL + text).loss.supervision == "fer"


def test_missing_setting_is_named() -> None:
    with pytest.raises(SettingsError, match=r"data\.ier is required; .* --data\.ier"):
        parse_settings(TrainSettings, {"data": {"fer": "a"}}, source="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "must hold a mapping, but holds a list"),
        ("just words", "must hold a mapping, but holds text"),
        ("a: [", r"is not YAML: .*line 2, column 1"),
    ],
)
def test_a_file_that_is_not_a_mapping_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "bad.yaml").write_text(f"{text}\n")
    with pytest.raises(SettingsError, match=rf"bad\.yaml: {message}") as caught:
        read_settings_file(str(tmp_path / "bad.yaml"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"bad\.yaml: is not in UTF-8 \(invalid start byte"):
        read_settings_file(str(tmp_path / "bad.yaml"))


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("latin-1", r"is not in UTF-8 \(invalid continuation byte at byte 6\); save it in UTF-8"),
        ("utf-16", r"is not in UTF-8 \(invalid start byte at byte 0\); save it in UTF-8"),
        ("utf-16-le", r"is not in UTF-8 \(invalid continuation byte at byte \d+\); save it"),
        ("utf-32-be", r"is not in UTF-8|is not text in UTF-8 \(character 0x0 at 0\); save it"),
    ],
)
def test_another_encoding_is_one_line_that_names_utf_8(
    tmp_path: Path, encoding: str, message: str
) -> None:
    file = tmp_path / "other.yaml"
    file.write_bytes("name: é\nstorage: r\n".encode(encoding))
    with pytest.raises(SettingsError, match=f"^--config {file}: {message}") as caught:
        read_settings_file(str(file))
    assert len(str(caught.value).splitlines()) == 1


def test_utf_16_without_letters_that_utf_8_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_bytes("name: x".encode("utf-16-le"))
    with pytest.raises(SettingsError, match=r"is not text in UTF-8 \(character 0x0 at 1\); save"):
        read_settings_file(str(tmp_path / "wide.yaml"))


def test_utf_8_may_have_its_mark(tmp_path: Path) -> None:
    (tmp_path / "marked.yaml").write_bytes("name: é\n".encode("utf-8-sig"))
    assert read_settings_file(str(tmp_path / "marked.yaml")) == {"name": "é"}
    assert read_settings_file(f"file://{tmp_path}/marked.yaml") == {"name": "é"}


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^--config nowhere\.yaml: no such file$"):
        read_settings_file("nowhere.yaml")


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'loss' .* twice"):
        load(tmp_path, MINIMAL + "loss: {balance: 1}\nloss: {balance: 2}\n")


def test_help_teaches_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        from_command_line(TrainSettings, ["--help"], program="train", purpose="x")
    text = " ".join(capsys.readouterr().out.split())
    assert "--loss.balance NUMBER" in text
    assert "Weight β of the discrepancy; 0 trains the networks side by side. [default: 1.0]" in text


@pytest.mark.parametrize("file", ["demo.yaml", "paper.yaml"])
def test_shipped_configurations_are_valid(file: str) -> None:
    parse_settings(TrainSettings, read_settings_file(str(ROOT / "configs" / file)), source=file)


def test_paper_configuration_is_the_papers() -> None:
    settings = parse_settings(
        TrainSettings, read_settings_file(str(ROOT / "configs/paper.yaml")), source="paper"
    )
    assert (settings.model.image_size, settings.model.width) == (224, 1.0)
    assert (settings.optimizer.batch_size, settings.schedule.epochs) == (16, 100)
    assert settings.loss.balance == 1.0
    assert 8e-5 <= settings.optimizer.learning_rate <= 8e-4
