"""contrib/compose as far as it can be judged without a Docker engine: what is written there fits together."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import click
import pytest
from pydantic import BaseModel

from pulse_core.config import Config, load_config
from pulse_core.plugins import load_plugins
from pulse_server.cli import main
from pulse_server.runner import ROLES
from pulse_server.secret_key import secret_keys
from support import compose
from support.tree import ROOT, project_files

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCKERFILE = (compose.COMPOSE / "Dockerfile").read_text()
EXAMPLE = compose.variables((compose.COMPOSE / ".env.example").read_text())
PORTS = {"web": 8080, "pipeline": 8081, "deliver": 8082}
PINNED = re.compile(r"[\w./-]+:\d+\.\d+(\.\d+)?[\w.-]*")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY$|DATABASE_URL")
ONCE = {"certificate", "migrate"}
WAITING_IN_PROFILES = {"influxdb", "mosquitto"}


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    return compose.fresh()


@pytest.fixture(scope="module")
def services(values: dict[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose.read(values)["services"]
    return found


def ours(services: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those that run the product."""
    return {name: each for name, each in services.items() if "build" in each}


def test_everything_that_it_is_made_for_is_there(services: dict[str, dict[str, Any]]) -> None:
    wanted = {*ROLES, *ONCE, *WAITING_IN_PROFILES, "postgres", "keycloak"}
    assert set(services) == wanted
    assert {name for name, each in services.items() if each.get("profiles")} == WAITING_IN_PROFILES


# Secrets


def test_nothing_starts_without_its_secrets(values: dict[str, str]) -> None:
    asked = set(compose.VARIABLE.findall(compose.source()))
    names = {name for name, _, _ in asked}
    assert names == set(EXAMPLE), "what is asked for, and what .env.example names"
    for name in names - {"BIND_ADDRESS"}:
        with pytest.raises(KeyError, match=name):
            compose.read({**values, name: ""})
    assert {name for name, kind, _ in asked if kind == "-"} == {"BIND_ADDRESS"}
    assert "$" not in compose.VARIABLE.sub("", compose.source()).replace("$$", ""), "that would be a variable, too"


def test_no_secret_is_written_down(values: dict[str, str]) -> None:
    plain = compose.VARIABLE.sub("", compose.source())
    assert {name for name in EXAMPLE if SECRET.search(name) and EXAMPLE[name]} == set()
    for name, value in re.findall(r"^\s+(\w+): (.*)$", plain, re.MULTILINE):
        if SECRET.search(name) and not name.endswith("_FILE"):
            assert not value.strip() or name == "PULSE_DATABASE_URL", name
    assert "postgresql://pulse:@postgres:5432/pulse" in plain
    assert not re.search(r"^(ENV|ARG).*(PASSWORD|SECRET|TOKEN|_KEY)", DOCKERFILE, re.MULTILINE)
    assert len({value for name, value in values.items() if SECRET.search(name)}) == len(
        [name for name in values if SECRET.search(name)]
    ), "each has its own"
    assert ROOT / "contrib/compose/.env" not in project_files()


# What the product takes


def setting(model: type[BaseModel], path: list[str]) -> bool:
    """Whether a configuration has such a key; below ``plugins`` the plugins' own models say."""
    name, *rest = path
    if name not in model.model_fields:
        return False
    kind = model.model_fields[name].annotation
    if not rest or name == "plugins":
        return not rest or rest == ["enabled"] or len(rest) == 2
    return isinstance(kind, type) and issubclass(kind, BaseModel) and setting(kind, rest)


def test_each_variable_of_the_product_is_a_setting(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PORTS:
        environment = services[name]["environment"]
        for key in environment:
            if key.startswith("PULSE_"):
                assert setting(Config, key.removeprefix("PULSE_").lower().split("__")), key
        with monkeypatch.context() as patched:
            for key, value in environment.items():
                patched.setenv(key, value)
            config = load_config()
        assert config.mode == "prod"
        assert config.database_url is not None
        assert config.effective_admin_key
        assert secret_keys(config)
        plugins = load_plugins(config)
        assert {status.name for status in plugins.statuses} >= set(json.loads(environment["PULSE_PLUGINS__ENABLED"]))
        assert services["migrate"]["environment"].items() <= environment.items()


def test_the_commands_are_the_products(services: dict[str, dict[str, Any]]) -> None:
    known = set(main.list_commands(click.Context(main)))
    for name, service in ours(services).items():
        if name in ROLES:
            assert service["command"] == ["run", "--role", name]
        assert {*service["command"][:1]} <= known, name


def test_keycloak_gets_what_the_realm_leaves_open(services: dict[str, dict[str, Any]]) -> None:
    realm = (ROOT / "contrib/keycloak/realm-pulse.json").read_text()
    asked = set(re.findall(r"\$\{(PULSE_\w+)\}", realm))
    given = services["keycloak"]["environment"]
    assert asked
    assert asked == {name for name in given if name.startswith("PULSE_")}
    web = services["web"]["environment"]
    assert web["PULSE_PLUGINS__OIDC__CLIENT_SECRET"] == given["PULSE_OIDC_CLIENT_SECRET"]
    assert web["PULSE_PLUGINS__OIDC__ISSUER"] == f"{given['KC_HOSTNAME']}/realms/{json.loads(realm)['realm']}"
    assert web["PULSE_PLUGINS__OIDC__CLIENT_ID"] in {each["clientId"] for each in json.loads(realm)["clients"]}
    assert given["KC_HOSTNAME"] == f"https://{services['keycloak']['networks']['outside']['aliases'][0]}:8443"


# How it runs


def test_every_file_that_is_referred_to_is_there(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for file, _ in compose.mounted(service):
            assert file in project_files(), (name, file)
    for service in ours(services).values():
        context = (compose.COMPOSE / service["build"]["context"]).resolve()
        assert context == ROOT
        assert context / service["build"]["dockerfile"] in project_files()
    whole = compose.read(compose.fresh())
    for service in services.values():
        assert set(service.get("networks", ())) <= set(whole["networks"])
        named = {text.split(":")[0] for text in service.get("volumes", ()) if not text.startswith(".")}
        assert named <= set(whole["volumes"])
        assert {each["source"] for each in service.get("configs", ())} <= set(whole["configs"])


def test_every_image_has_a_version(services: dict[str, dict[str, Any]]) -> None:
    images = [service["image"] for service in services.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert [image for image in images if not PINNED.fullmatch(image)] == []
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"] for service in ours(services).values()} == {f"opsconductor-pulse:{version}"}


def test_whoever_is_waited_for_can_be_asked(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        check = service["healthcheck"]
        assert check.get("disable") if name in ONCE else check["test"], name
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how == {"condition": wanted}, (name, other)
    waiting = {name: set(services[name].get("depends_on", ())) for name in services}
    assert all("migrate" in waiting[name] for name in ROLES)
    assert waiting["migrate"] == {"postgres"}
    assert waiting["keycloak"] == {"postgres", "certificate"}
    assert {name for name in services if "keycloak" in waiting[name]} == {"web"}


def test_each_role_is_asked_on_its_own_port(services: dict[str, dict[str, Any]]) -> None:
    defaults = Config.model_fields
    found = {"web": defaults["web"], "pipeline": defaults["device_http"], "deliver": defaults["metrics_deliver"]}
    for name, port in PORTS.items():
        assert services[name]["healthcheck"]["test"] == ["CMD", "python", "/opt/healthy.py", str(port)]
        assert found[name].default.port == port


def test_ports_are_open_to_this_machine_alone(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), (name, port)
    assert "ports" not in services["postgres"]
    assert services["postgres"]["networks"] == ["inside"]


def test_the_product_runs_with_few_rights(services: dict[str, dict[str, Any]]) -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)[-1] == "10001:10001"
    for name, service in ours(services).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "user" not in service or service["user"] == "1000:0", name
