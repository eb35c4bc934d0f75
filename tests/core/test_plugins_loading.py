"""The plugin door: which modules are imported, what is refused, and how people are told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import PluginError
from pulse_core.plugins import PluginState, load_plugins, survey
from support.distributions import Workshop, channel, config_for, workshop_with_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pulse_core.plugins import PluginStatus


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    yield from workshop_with_store(tmp_path)


def status_of(name: str, statuses: list[PluginStatus]) -> PluginStatus:
    return next(status for status in statuses if status.name == name)


def test_only_enabled_plugins_are_imported(workshop: Workshop) -> None:
    modules = workshop.install("stranger", {"bell": channel("bell"), "bomb": "raise RuntimeError('imported')"})
    plugins = load_plugins(config_for("bell"))
    assert list(plugins.channels) == ["bell"]
    assert modules["bomb"] not in sys.modules
    assert status_of("bomb", plugins.statuses).status is PluginState.DISABLED


def test_an_enabled_plugin_that_is_not_installed_is_named(workshop: Workshop) -> None:
    workshop.install("stranger", {"slack": channel("slack")})
    with pytest.raises(PluginError, match=r"'slak'.*did you mean 'slack'\?.*installed: .*memory"):
        load_plugins(config_for("slak"))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import a_library_that_is_missing", "a_library_that_is_missing.*extra"),
        ("raise ValueError('no licence')", "being imported: ValueError: no licence"),
        ("assert False, 'broken'", "AssertionError: broken"),
        ("import sys; sys.exit('go away')", "SystemExit: go away"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named(workshop: Workshop, source: str, told: str) -> None:
    workshop.install("stranger", {"broken": source}, version="2.3")
    with pytest.raises(PluginError, match=rf"'broken' \(stranger 2\.3\).*{told}") as caught:
        load_plugins(config_for("broken"))
    assert caught.value.__cause__ is not None


def test_every_broken_plugin_is_told_at_once(workshop: Workshop) -> None:
    workshop.install("stranger", {"one": "raise ValueError", "two": "raise ValueError"})
    with pytest.raises(PluginError, match=r"(?s)'one'.*'two'"):
        load_plugins(config_for("one", "two"))


def test_a_name_brought_by_two_distributions_is_refused_although_others_stand_between(workshop: Workshop) -> None:
    workshop.install("first", {"bell": channel("bell")}, version="1.1")
    workshop.install("between", {"gong": channel("gong")})
    workshop.install("second", {"bell": channel("other")}, version="2.2")
    with pytest.raises(PluginError, match=r"'bell' \(first 1\.1 and second 2\.2\).*uninstall"):
        load_plugins(config_for("bell"))
    assert list(load_plugins(config_for("gong")).channels) == ["gong"]


def test_two_names_for_one_module_are_refused(workshop: Workshop) -> None:
    modules = workshop.install("stranger", {"bell": channel("bell")})
    workshop.install("copycat", {})
    info = next(path for path in sys.path if path.endswith("copycat"))
    entry = f"[pulse.plugins]\nring = {modules['bell']}\n"
    with open(f"{info}/copycat-1.0.dist-info/entry_points.txt", "w") as file:  # noqa: PTH123 - a short test
        file.write(entry)
    with pytest.raises(PluginError, match=r"'bell'|'ring'"):
        load_plugins(config_for("bell", "ring"))


def test_an_entry_point_must_name_a_module(workshop: Workshop) -> None:
    workshop.install("stranger", {"bell": channel("bell")})
    folder = next(path for path in sys.path if path.endswith("stranger"))
    with open(f"{folder}/stranger-1.0.dist-info/entry_points.txt", "w") as file:  # noqa: PTH123 - a short test
        file.write("[pulse.plugins]\nbell = stranger_bell:Bell\n")
    with pytest.raises(PluginError, match="must name a module"):
        load_plugins(config_for("bell"))


@pytest.mark.parametrize("order", [("bell", "gong", "horn"), ("horn", "bell", "gong")])
def test_contributions_and_hooks_come_in_the_order_of_the_configuration(
    workshop: Workshop, order: tuple[str, ...]
) -> None:
    workshop.install("stranger", {name: channel(name) for name in ("gong", "horn", "bell")})
    plugins = load_plugins(config_for(*order))
    assert tuple(plugins.channels) == order
    answers = plugins.manager.hook.pulse_register_channels()
    assert tuple(cls.name for classes in answers for cls in classes) == order


def test_a_distribution_installed_while_we_run_is_seen(workshop: Workshop) -> None:
    survey(config_for())
    workshop.install("late", {"bell": channel("bell")})
    assert list(load_plugins(config_for("bell")).channels) == ["bell"]


def test_status_tells_name_version_distribution_and_contributions(workshop: Workshop) -> None:
    workshop.install("stranger", {"bell": channel("bell"), "gong": ""}, version="4.5", summary="Noises.")
    statuses = load_plugins(config_for("bell")).statuses
    bell = status_of("bell", statuses)
    assert (bell.version, bell.distribution, bell.summary) == ("4.5", "stranger", "Rings a bell.")
    assert (bell.contributes, bell.status, bell.error) == (("channel bell",), PluginState.ENABLED, "")
    gong = status_of("gong", statuses)
    assert (gong.version, gong.distribution, gong.summary) == ("4.5", "stranger", "Noises.")
    assert (gong.contributes, gong.status) == ((), PluginState.DISABLED)


def test_survey_shows_every_state_and_never_raises(workshop: Workshop) -> None:
    workshop.install("good", {"bell": channel("bell")})
    workshop.install("bad", {"broken": "raise ValueError('no')", "off": "raise ValueError('imported')"})
    statuses = survey(config_for("bell", "broken", "gone", bell={"pich": 1}))
    states = {status.name: str(status.status) for status in statuses}
    assert (
        states
        | {
            "memory": "enabled",
            "bell": "config error",
            "broken": "load error",
            "gone": "load error",
            "off": "disabled",
        }
        == states
    )
    assert "no such key" in status_of("bell", statuses).error
    assert status_of("memory", statuses).contributes == ("telemetry store memory",)


def test_a_plugin_that_breaks_does_not_take_the_others_along(workshop: Workshop) -> None:
    raising = channel("gong").replace("return [Bell]", "raise KeyError('x')")
    workshop.install("stranger", {"gong": raising, "bell": channel("bell")})
    statuses = survey(config_for("gong", "bell"))
    assert status_of("gong", statuses).status is PluginState.LOAD_ERROR
    assert "registering: KeyError" in status_of("gong", statuses).error
    assert status_of("bell", statuses).contributes == ("channel bell",)


@pytest.mark.parametrize("name", ["Bell", "my bell", "enabled", "1st"])
def test_a_plugin_name_must_fit_everywhere(workshop: Workshop, name: str) -> None:
    workshop.install("stranger", {name: channel("bell")})
    with pytest.raises(PluginError, match="lower-case word"):
        load_plugins(config_for(name))
