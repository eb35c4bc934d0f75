"""The file with the generated secret key: whole, private, and never short of a key that is needed."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pulse_core.config import Config
from pulse_core.errors import ConfigError
from pulse_server import key_file, runfiles
from pulse_server.secret_key import demand_in_use, key_id, secret_key, secret_keys

OLD = "0123456789abcdef" * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    key_file.keys(tmp_path / "secret.key")
    return tmp_path / "secret.key"


def test_a_new_key_comes_first_and_the_others_stay(path: Path) -> None:
    (first,) = key_file.keys(path)
    assert key_file.add(path) == 1
    second, *rest = key_file.keys(path)
    assert rest == [first] != [second]
    assert key_file.add(path) == 2
    assert key_file.keys(path)[1:] == [second, first]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret.key"]


def test_the_previous_ones_can_be_dropped_but_not_the_current_one(path: Path) -> None:
    key_file.add(path)
    current, previous = key_file.keys(path)
    with pytest.raises(ConfigError, match="newer key"):
        key_file.forget(path, previous)
    assert key_file.forget(path, current) == 1
    assert key_file.forget(path, current) == 0
    assert key_file.keys(path) == [current]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_several_at_once_lose_no_key(path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: key_file.add(path), range(16)))
    found = key_file.keys(path)
    assert len(set(found)) == len(found) == 17


def test_what_ends_in_between_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        key_file.add(path)
    assert path.read_text() == before
    assert [each.name for each in path.parent.iterdir()] == ["secret.key"]


def test_root_leaves_it_to_its_owner(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = path.stat()
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: owner.st_uid + 1)
    monkeypatch.setattr(os, "chown", lambda _, uid, gid: given.append((uid, gid)))
    key_file.add(path)
    assert given == [(owner.st_uid, owner.st_gid)]


@pytest.mark.parametrize("text", ["", "\n\n", f"{OLD}\nshort\n", f"short\n{OLD}\n"])
def test_a_damaged_file_is_told_without_repeating_it(path: Path, text: str) -> None:
    path.write_text(text)
    for work in (key_file.keys, key_file.add):
        with pytest.raises(ConfigError, match="backup") as caught:
            work(path)
        assert OLD not in str(caught.value)
    assert path.read_text() == text


def test_keys_of_the_configuration_and_of_the_file(tmp_path: Path) -> None:
    generated = Config(data_dir=tmp_path)
    (made,) = secret_keys(generated)
    key_file.add(tmp_path / "secret.key")
    newer, older = secret_keys(generated)
    assert older == made
    assert secret_keys(Config(data_dir=tmp_path, previous_secret_keys=(OLD, made))) == (newer, made, OLD)
    configured = Config(data_dir=tmp_path, secret_key="x" * 40, previous_secret_keys=(OLD, "x" * 40), mode="dev")
    assert secret_keys(configured) == ("x" * 40, OLD)
    assert secret_key(configured) == "x" * 40


def test_who_runs_with_another_key_is_named(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    demand_in_use(config, OLD)
    runfiles.publish(tmp_path, "deliver", addresses={}, key=key_id(OLD))
    demand_in_use(config, OLD)
    with pytest.raises(ConfigError, match=r"deliver .* restart the platform") as caught:
        demand_in_use(config, OLD[::-1])
    assert OLD not in str(caught.value)
    assert OLD not in (tmp_path / "run" / "deliver.json").read_text()
    runfiles.publish(tmp_path, "web", addresses={})
    with pytest.raises(ConfigError, match="web "):
        demand_in_use(config, OLD)
