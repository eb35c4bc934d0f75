"""Self-checks: contained, timed, and shown."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from pulse_core.plugins import PluginState, checked_survey, load_plugins
from support.distributions import Workshop, channel, config_for, workshop_with_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECK = """    name = "{name}"
    @classmethod
    async def check(cls, config):
        import asyncio
        {body}
"""

STUBBORN = """
        while True:
            try: await asyncio.sleep(60)
            except asyncio.CancelledError: break
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    yield from workshop_with_store(tmp_path)


def checked(name: str, body: str) -> str:
    return channel(name).replace(f'    name = "{name}"\n', CHECK.format(name=name, body=body))


async def test_a_failed_check_is_shown_and_the_others_do_not_notice(workshop: Workshop) -> None:
    bodies = {
        "good": "await asyncio.sleep(0)",
        "raising": "raise OSError('no such host')",
        "leaving": "raise SystemExit(3)",
        "hanging": "await asyncio.Event().wait()",
        "stubborn": STUBBORN,
    }
    workshop.install("stranger", {name: checked(name, body) for name, body in bodies.items()})
    plugins = load_plugins(config_for(*bodies))
    started = time.monotonic()
    failed = {status.name: status for status in await plugins.self_check(timeout_s=0.2)}
    assert time.monotonic() - started < 10
    assert set(failed) == {"raising", "leaving", "hanging", "stubborn"}
    assert failed["raising"].error == "raising: OSError: no such host"
    assert failed["leaving"].error.startswith("leaving: SystemExit")
    assert failed["hanging"].error == "hanging: no answer in 0.2 s"
    states = {status.name: status.status for status in plugins.statuses}
    assert states["good"] is states["memory"] is PluginState.ENABLED
    assert states["raising"] is PluginState.FAILED_SELF_CHECK
    assert set(plugins.channels) == set(bodies), "a failed self-check takes nothing away"
    await asyncio.sleep(0)


async def test_a_check_gets_the_operators_configuration(workshop: Workshop) -> None:
    body = "assert config.model_dump() == {'loudness': 4}, config; raise ValueError('seen')"
    source = checked("bell", body).replace(
        "class Bell(", "class BellConfig(PluginConfig):\n    loudness: int\n\nclass Bell("
    )
    source = source.replace('    name = "bell"\n', '    name = "bell"\n    config_type = BellConfig\n')
    workshop.install("stranger", {"bell": source})
    plugins = load_plugins(config_for("bell", bell={"loudness": 4}))
    assert [status.error for status in await plugins.self_check()] == ["bell: ValueError: seen"]


async def test_nothing_to_check(workshop: Workshop) -> None:
    assert await load_plugins(config_for()).self_check() == []


async def test_a_survey_runs_the_checks_although_another_plugin_is_broken(workshop: Workshop) -> None:
    workshop.install("stranger", {"bell": checked("bell", "raise OSError('cracked')"), "bad": "raise ValueError"})
    states = {each.name: (str(each.status), each.error) for each in await checked_survey(config_for("bell", "bad"))}
    assert states["bell"] == ("failed self-check", "bell: OSError: cracked")
    assert states["bad"][0] == "load error"
    assert states["memory"] == ("enabled", "")
