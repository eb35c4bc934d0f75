"""``pulse_register_auth_providers``: what a third party's way of logging in must look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import ConfigError, PluginError
from pulse_core.plugins import load_plugins
from support.distributions import Workshop, config_for, workshop_with_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BADGES = '''
"""Badges: whoever wears one is let in."""
from pulse_core.api import AuthProvider, PluginConfig, Principal, Role, hookimpl

class BadgesConfig(PluginConfig):
    door: str = "front"
    """Which door."""

class Badges(AuthProvider):
    name = "badges"
    config_type = BadgesConfig

    @property
    def issuer(self):
        return f"https://badges.example/{self.config.door}"

    async def verify_bearer(self, token):
        return Principal(f"badge:{token}", Role.CUSTOMER_VIEWER, "tenant-a")

@hookimpl
def pulse_register_auth_providers():
    return [Badges]
'''


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    yield from workshop_with_store(tmp_path)


async def test_a_third_party_answers_for_its_issuer_in_a_few_lines(workshop: Workshop) -> None:
    workshop.install("stranger", {"bell": BADGES})
    plugins = load_plugins(config_for("bell", bell={"door": "back"}))
    (badges,) = plugins.auth_providers
    provider = badges(plugins.config_of(badges), None)  # type: ignore[arg-type]
    await provider.open()
    assert provider.issuer == "https://badges.example/back"
    found = await provider.verify_bearer("7")
    assert found is not None
    assert found.tenant_id == "tenant-a"
    assert await provider.verify_password("ada", "secret") is None
    assert await provider.refresh("x") is None
    assert list(await provider.published_keys()) == []
    await provider.log_out("x")
    await provider.close()


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("async def verify_bearer", "async def verify", "does not implement verify_bearer"),
        ("async def verify_bearer", "def verify_bearer", ".verify_bearer must be async"),
        ("def issuer", "def whoever", "does not implement issuer"),
        ("Badges(AuthProvider)", "Badges", "must extend AuthProvider"),
    ],
)
def test_providers_that_break_a_rule_are_refused(workshop: Workshop, good: str, bad: str, told: str) -> None:
    workshop.install("stranger", {"bell": BADGES.replace(good, bad)})
    with pytest.raises(PluginError, match=told):
        load_plugins(config_for("bell"))


def test_its_table_is_checked(workshop: Workshop) -> None:
    workshop.install("stranger", {"bell": BADGES})
    with pytest.raises(ConfigError, match="did you mean 'door'"):
        load_plugins(config_for("bell", bell={"dor": "back"}))
