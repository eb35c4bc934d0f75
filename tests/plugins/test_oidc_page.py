"""The pages on OpenID: what stands there to be copied works."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from pulse_core.config import load_config
from pulse_core.plugins import load_plugins
from pulse_oidc.config import OidcConfig
from pulse_oidc.provider import OidcProvider
from support.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs/how-to/oidc.md"
PAGES = [PAGE, ROOT / "contrib/keycloak/README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_configuration_on_the_page_is_valid(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_PLUGINS__OIDC__CLIENT_SECRET", "0123456789")
    (sample,) = re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    file = tmp_path / "pulse.toml"
    file.write_text(sample)
    plugins = load_plugins(load_config(file))
    (provider,) = [each for each in plugins.auth_providers if each is OidcProvider]
    config = plugins.config_of(provider)
    assert isinstance(config, OidcConfig)
    assert config.provider == tomllib.loads(sample)["plugins"]["oidc"]["issuer"]
    assert config.client_secret is not None
    assert config.client_secret.get_secret_value() == "0123456789"


def test_the_paths_on_the_page_are_valid() -> None:
    rows = re.findall(r"^\| .* \| `(\w+ = .*?)`(?: and `(\w+ = .*?)`)? \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == 4
    for row in rows:
        OidcConfig(**tomllib.loads("\n".join(filter(None, row))))
