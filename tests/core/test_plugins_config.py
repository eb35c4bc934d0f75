"""``[plugins.<name>]``: validated against what the plugin's classes declare, each given its own keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from pulse_core.config import Config, load_config
from pulse_core.errors import ConfigError
from pulse_core.plugins import load_plugins
from support.distributions import Workshop, channel, config_for, workshop_with_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TWO_CLASSES = (
    channel("bell")
    .replace(
        "class Bell(",
        """
class BellConfig(PluginConfig):
    loudness: int = 3
    token: SecretStr | None = None

class GongConfig(PluginConfig):
    size_cm: int = 10

class Bell(""",
    )
    .replace(
        'name = "bell"',
        'name = "bell"\n    config_type = BellConfig',
    )
    .replace(
        "@hookimpl",
        """
class Gong(Bell):
    name = "gong"
    config_type = GongConfig

@hookimpl""",
    )
    .replace("[Bell]", "[Bell, Gong]")
)


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = workshop_with_store(tmp_path)
    for each in made:
        each.install("stranger", {"noises": TWO_CLASSES, "horn": channel("horn")})
        yield each


def test_each_class_gets_its_own_keys(workshop: Workshop) -> None:
    plugins = load_plugins(config_for("noises", noises={"loudness": 9, "size_cm": 80}))
    bell, gong = plugins.channels["bell"], plugins.channels["gong"]
    assert plugins.config_of(bell).model_dump() == {"loudness": 9, "token": None}
    assert plugins.config_of(gong).model_dump() == {"size_cm": 80}
    assert plugins.plugin_of(gong) == "noises"


def test_defaults_apply_without_a_table(workshop: Workshop) -> None:
    plugins = load_plugins(config_for("noises"))
    assert plugins.config_of(plugins.channels["bell"]).model_dump() == {"loudness": 3, "token": None}


def test_a_class_of_nobody_has_no_config(workshop: Workshop) -> None:
    plugins = load_plugins(config_for("noises"))
    bell = plugins.channels["bell"]
    stranger = type("Stranger", (bell,), {"name": "stranger"})
    with pytest.raises(KeyError):
        plugins.config_of(stranger)


def test_all_faults_of_all_tables_are_listed(workshop: Workshop) -> None:
    tables = {"noises": {"loudnes": 1, "loudness": "very", "size_cm": "big"}, "horn": {"x": 1}, "nioses": {}}
    with pytest.raises(ConfigError) as caught:
        load_plugins(config_for("noises", "horn", **tables))
    told = str(caught.value).splitlines()
    assert any(line.startswith("plugins.noises.loudnes: there is no such key; did you mean") for line in told)
    assert any(line.startswith("plugins.noises.loudness: Input should be a valid integer") for line in told)
    assert any(line.startswith("plugins.noises.size_cm: Input should be") for line in told)
    assert any(line.startswith("plugins.horn.x: there is no such key") for line in told)
    assert any("plugins.nioses: no installed plugin" in line and "'noises'?" in line for line in told)
    assert len(told) == 5


def test_no_value_is_ever_repeated(workshop: Workshop) -> None:
    with pytest.raises(ConfigError) as caught:
        load_plugins(config_for("noises", noises={"token": {"hunter2": "hunter2"}, "loudness": "hunter2"}))
    assert "hunter2" not in str(caught.value)


def test_a_table_must_be_a_table(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match=r"plugins\.noises"):
        load_plugins(config_for("noises", noises=3))


def test_a_table_of_a_plugin_that_is_not_enabled_is_allowed_and_flagged(workshop: Workshop) -> None:
    with capture_logs() as logs:
        load_plugins(config_for("horn", noises={"whatever": 1}))
    assert [(line["plugin"], line["log_level"]) for line in logs] == [("noises", "warning")]


def test_a_plugin_enabled_twice_is_told(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match=r"plugins\.enabled: 'horn' stands there 2 times"):
        load_plugins(config_for("horn", "horn"))


def test_the_file_and_the_environment_reach_a_plugin(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pulse.toml"
    file.write_text(
        "telemetry_store = 'memory'\n[plugins]\nenabled = ['noises', 'memory']\n"
        "[plugins.noises]\nloudness = 5\nsize_cm = 1\n"
    )
    monkeypatch.setenv("PULSE_PLUGINS__NOISES__SIZE_CM", "77")
    plugins = load_plugins(load_config(file))
    assert plugins.config_of(plugins.channels["bell"]).model_dump()["loudness"] == 5
    assert plugins.config_of(plugins.channels["gong"]).model_dump() == {"size_cm": 77}


def test_the_active_store_is_the_configured_one(workshop: Workshop) -> None:
    assert load_plugins(config_for()).telemetry_store.name == "memory"


@pytest.mark.parametrize(
    ("wanted", "enabled", "told"),
    [("memmory", ("memory",), "did you mean 'memory'.*there are: memory"), ("memory", (), "there are: none")],
)
def test_without_the_configured_store_nothing_starts(
    workshop: Workshop, wanted: str, enabled: tuple[str, ...], told: str
) -> None:
    with pytest.raises(ConfigError, match=rf"telemetry_store: .*{wanted!r}.*{told}"):
        load_plugins(Config(telemetry_store=wanted, plugins={"enabled": enabled}))
