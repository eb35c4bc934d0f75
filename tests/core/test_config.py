"""The configuration: file, environment, and what is said when it is wrong."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core.config import Config, load_config
from pulse_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=0x3FF), max_size=80).map("hunter2:".__add__)
GOOD = "0123456789abcdefghijklmnopqrstuvwxyz"


@given(key=KEYS, how=st.sampled_from(["one", "many", "text", "number"]))
def test_no_secret_key_is_ever_repeated(key: str, how: str) -> None:
    cases: dict[str, dict[str, Any]] = {
        "one": {"secret_key": key},
        "many": {"secret_key": GOOD, "previous_secret_keys": [GOOD, key]},
        "text": {"previous_secret_keys": key},
        "number": {"previous_secret_keys": [17, key], "secret_key": [key]},
    }
    try:
        config = load_config(None, **cases[how])
    except ConfigError as error:
        shown = "\n".join(str(each) for each in (error, error.__cause__, error.__context__))
    else:
        shown = repr(config) + str(config) + config.model_dump_json()
    assert key not in shown


@pytest.mark.parametrize("value", ["hunter2-hunter2", '["hunter2-hunter2"', '"hunter2-hunter2"', "{}"])
def test_a_list_in_the_environment_is_json(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_PREVIOUS_SECRET_KEYS", value)
    with pytest.raises(ConfigError, match="previous_secret_keys") as caught:
        load_config()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pulse.toml"


def told(file: Path, text: str) -> list[str]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    return str(caught.value).splitlines()


def test_without_anything_it_is_safe() -> None:
    config = load_config()
    assert (config.mode, config.web.host, config.effective_admin_key) == ("prod", "127.0.0.1", None)
    assert (config.web.port, config.device_http.port, config.metrics_deliver.port) == (8080, 8081, 8082)


def test_arguments_win_over_the_environment_and_that_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[pipeline]\nlanes = 2\nbatch_messages = 20\nidle_wait_ms = 2\n")
    monkeypatch.setenv("PULSE_PIPELINE__LANES", "3")
    monkeypatch.setenv("PULSE_PIPELINE__BATCH_MESSAGES", "30")
    pipeline = load_config(file, pipeline={"lanes": 4}).pipeline
    assert (pipeline.lanes, pipeline.batch_messages, pipeline.idle_wait_ms) == (4, 30, 2)


@pytest.mark.parametrize(("section", "port"), [("web", 8080), ("device_http", 8081), ("metrics_deliver", 8082)])
def test_a_section_that_names_only_a_host_keeps_its_port(
    file: Path, monkeypatch: pytest.MonkeyPatch, section: str, port: int
) -> None:
    file.write_text(f"[{section}]\nhost = '0.0.0.0'\n")
    listen = getattr(load_config(file), section)
    assert (listen.host, listen.port) == ("0.0.0.0", port)
    monkeypatch.setenv(f"PULSE_{section.upper()}__HOST", "::1")
    listen = getattr(load_config(), section)
    assert (listen.host, listen.port) == ("::1", port)


def test_every_fault_is_told_with_what_was_probably_meant(file: Path) -> None:
    lines = told(file, "mod = 'dev'\n[pipelin]\n[web]\nprot = 1\n[delivery]\nlease_s = 1\n")
    assert any(line.startswith("mod: there is no such key; did you mean 'mode'?") for line in lines)
    assert any(line.startswith("pipelin: there is no such key; did you mean 'pipeline'?") for line in lines)
    assert any(line.startswith("web.prot: there is no such key; did you mean 'port'?") for line in lines)
    assert any(line.startswith("delivery.lease_s:") for line in lines)
    assert len(lines) == 4


def test_no_value_is_repeated(file: Path) -> None:
    assert "hunter2" not in "\n".join(told(file, "mode = 'hunter2'\nsecret_key = ['hunter2']\nadmin_kye = 'hunter2'"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("secret_key = 'short'", "at least 32 characters"),
        (f"previous_secret_keys = ['{'x' * 32}', 'short']", "previous_secret_keys.1: at least 32 characters"),
        ("admin_key = 'dev-admin-key'", "is for development"),
        ("= nonsense", "is not TOML"),
    ],
)
def test_what_must_not_start_does_not(file: Path, text: str, said: str) -> None:
    assert said in "\n".join(told(file, text))


def test_development_has_a_key_that_is_known(file: Path) -> None:
    assert load_config(mode="dev").effective_admin_key == "dev-admin-key"
    file.write_text("mode = 'dev'\nadmin_key = 'mine'")
    assert load_config(file).effective_admin_key == "mine"


def test_a_file_that_is_not_there_is_told(file: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file"):
        load_config(file)


def test_secrets_are_not_shown() -> None:
    config = Config(secret_key="s3cr3t" * 6, database_url="postgresql://u:s3cr3t@h/d", admin_key="s3cr3t")
    assert "s3cr3t" not in repr(config) + str(config) + config.model_dump_json()
