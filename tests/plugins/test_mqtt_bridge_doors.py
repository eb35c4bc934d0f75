"""``/mqtt/auth`` and ``/mqtt/acl``, asked as EMQX and as mosquitto-go-auth ask."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import string
import tomllib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from pulse_core.api import ConnectionEvent, DeviceKey, Reason
from pulse_core.config import load_config
from pulse_core.testing.intake import known_device
from pulse_mqtt_bridge.config import BridgeConfig
from support import asgi
from support.bridging import TOKEN, Bridge, bridging, scripted_broker
from support.tree import ROOT
from support.waiting import eventually, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = "the secret of the broker"
OWN = "tenant/tenant-a/device/device-1/"
BEARER = {"authorization": f"Bearer {SECRET}"}
BASIC = {"authorization": "Basic " + base64.b64encode(f"pulse:{SECRET}".encode()).decode()}


@asynccontextmanager
async def doors(**config: Any) -> AsyncIterator[Bridge]:
    async with scripted_broker() as broker, bridging(broker.port, auth_secret=SECRET, **config) as bridge:
        yield bridge


async def emqx(bridge: Bridge, path: str, **fields: Any) -> str:
    """What EMQX makes of the answer: it looks at ``result`` of a 200, and asks the next one in all other cases."""
    headers = {"content-type": "application/json", **BEARER}
    response = await asgi.post(bridge.doors[path], path, json.dumps(fields).encode(), headers)
    if response.status != 200:
        return "ignore"
    content = json.loads(response.body)
    assert content["is_superuser"] is False
    return str(content["result"])


async def go_auth(bridge: Bridge, path: str, mode: str, params: str, **fields: Any) -> bool:
    """What mosquitto-go-auth makes of it, in each of its modes."""
    body = urlencode(fields).encode() if params == "form" else json.dumps(fields).encode()
    kind = "application/x-www-form-urlencoded" if params == "form" else "application/json"
    response = await asgi.post(bridge.doors[path], path, body, {"content-type": kind, **BASIC})
    if not 200 <= response.status < 300:
        assert response.status < 500
        return False
    return mode == "status" or bool(json.loads(response.body)["Ok"])


async def test_emqx_logs_devices_in() -> None:
    async with doors() as bridge:
        device = {"username": "tenant-a/device-1", "clientid": "c", "action": "connect"}
        assert await emqx(bridge, "/mqtt/auth", **device, password=TOKEN) == "allow"
        assert await emqx(bridge, "/mqtt/auth", **device, password="another") == "deny"
        assert await emqx(bridge, "/mqtt/auth", username="somebody", password=TOKEN, action="connect") == "deny"
        assert await emqx(bridge, "/mqtt/auth", username=None, password=None, action="connect") == "deny"
        await until(lambda: bridge.intake.refused)
        [(login, outcome)] = bridge.intake.refused
        assert (login.tenant_id, login.device_id, login.msg_type) == ("tenant-a", "device-1", "connect")
        assert outcome.reason is Reason.TOKEN_INVALID
        [(key, event, about)] = bridge.intake.connection_events
        assert (str(key), event, about["client_id"]) == ("tenant-a/device-1", ConnectionEvent.REFUSED, "c")
        assert about["detail"] == "TOKEN_INVALID"


async def test_emqx_without_the_action_is_never_told_yes() -> None:
    async with doors() as bridge:
        assert await emqx(bridge, "/mqtt/auth", username="tenant-a/device-1", password="another") == "ignore"


@pytest.mark.parametrize("mode", ["status", "json"])
@pytest.mark.parametrize("params", ["json", "form"])
async def test_mosquitto_go_auth_asks(mode: str, params: str) -> None:
    async with doors() as bridge:
        device = {"username": "tenant-a/device-1", "clientid": "c"}
        assert await go_auth(bridge, "/mqtt/auth", mode, params, **device, password=TOKEN)
        assert not await go_auth(bridge, "/mqtt/auth", mode, params, **device, password="another")
        assert not await go_auth(bridge, "/mqtt/auth", mode, params, username="tenant-a/device-1")
        may = {2: "telemetry", 4: "#", 1: "cmd/reboot", 3: "x"}
        for acc, rest in may.items():
            assert await go_auth(bridge, "/mqtt/acl", mode, params, **device, topic=OWN + rest, acc=acc)
            elsewhere = f"tenant/tenant-b/device/device-1/{rest}"
            assert not await go_auth(bridge, "/mqtt/acl", mode, params, **device, topic=elsewhere, acc=acc)
        for wrong in (0, 5, -1, "x", 2**70, "9" * 5000):
            assert not await go_auth(bridge, "/mqtt/acl", mode, params, **device, topic=OWN + "x", acc=wrong)


async def test_emqx_asks_for_rights() -> None:
    async with doors() as bridge:
        device = {"username": "tenant-a/device-1", "clientid": "c"}
        assert await emqx(bridge, "/mqtt/acl", **device, topic=OWN + "event", action="publish") == "allow"
        assert await emqx(bridge, "/mqtt/acl", **device, topic=OWN + "#", action="subscribe") == "allow"
        assert await emqx(bridge, "/mqtt/acl", **device, topic=OWN + "#", action="publish") == "deny"
        assert await emqx(bridge, "/mqtt/acl", **device, topic="#", action="subscribe") == "deny"
        assert await emqx(bridge, "/mqtt/acl", **device, topic=OWN + "event") == "deny"
        assert await emqx(bridge, "/mqtt/acl", **device, topic=OWN + "event", action="something") == "deny"
        assert await emqx(bridge, "/mqtt/acl", topic=OWN + "event", action="publish") == "deny"


async def test_the_bridge_itself_is_let_in() -> None:
    async with doors(user="pulse", password="of the bridge") as bridge:
        login = {"username": "pulse", "action": "connect"}
        assert await emqx(bridge, "/mqtt/auth", **login, password="of the bridge") == "allow"
        assert await emqx(bridge, "/mqtt/auth", **login, password="of another") == "deny"
        assert await emqx(bridge, "/mqtt/auth", **login) == "deny"
        shared = "$share/pulse/tenant/+/device/+/+"
        assert await emqx(bridge, "/mqtt/acl", username="pulse", topic=shared, action="subscribe") == "allow"
        assert await emqx(bridge, "/mqtt/acl", username="pulse", topic="#", action="subscribe") == "deny"
        assert await emqx(bridge, "/mqtt/acl", username="pulse", topic=OWN + "event", action="publish") == "deny"
        assert await go_auth(bridge, "/mqtt/acl", "status", "json", username="pulse", topic=OWN + "event", acc=1)


async def test_a_bridge_without_a_password_is_nobody() -> None:
    async with doors(user="pulse") as bridge:
        assert await emqx(bridge, "/mqtt/auth", username="pulse", password="", action="connect") == "deny"


async def test_a_revoked_device_loses_its_rights_and_gets_them_back_with_a_login() -> None:
    async with doors() as bridge:
        right = {"username": "tenant-a/device-1", "topic": OWN + "event", "action": "publish"}
        login = {"username": "tenant-a/device-1", "password": TOKEN, "action": "connect"}
        assert await emqx(bridge, "/mqtt/auth", **login) == "allow"
        assert await emqx(bridge, "/mqtt/acl", **right) == "allow"
        key = DeviceKey("tenant-a", "device-1")
        known = bridge.intake.devices[key]
        bridge.intake.store_down = True
        bridge.intake.revoke(key)
        await until(lambda: len(bridge.intake.logins) > 1)
        bridge.intake.store_down = False

        async def denied() -> bool:
            return await emqx(bridge, "/mqtt/acl", **right) == "deny"

        await eventually(denied)
        assert await emqx(bridge, "/mqtt/auth", **login) == "deny"
        bridge.intake.devices[key] = known
        assert await emqx(bridge, "/mqtt/auth", **login) == "allow"
        assert await emqx(bridge, "/mqtt/acl", **right) == "allow"


async def test_a_device_that_has_come_with_its_new_token_keeps_its_rights_when_the_old_one_ends() -> None:
    async with doors() as bridge:
        key = DeviceKey("tenant-a", "device-1")
        bridge.intake.devices[key] = known_device(key.tenant_id, key.device_id, "the new token")
        login = {"username": str(key), "password": "the new token", "action": "connect"}
        assert await emqx(bridge, "/mqtt/auth", **login) == "allow"
        renewed = bridge.intake.devices[key]
        bridge.intake.revoke(key)
        bridge.intake.devices[key] = renewed
        await until(lambda: len(bridge.intake.logins) > 1)
        assert await emqx(bridge, "/mqtt/acl", username=str(key), topic=OWN + "event", action="publish") == "allow"


async def test_who_does_not_know_the_secret_learns_nothing() -> None:
    wrong = [
        *({}, {"authorization": "Bearer"}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {SECRET}x"}),
        *({"authorization": SECRET}, {"authorization": "Basic !!!"}, {"x-broker-secret": ""}),
        {"authorization": "Basic " + base64.b64encode(SECRET.encode()).decode()},
    ]
    body = json.dumps({"username": "tenant-a/device-1", "password": TOKEN}).encode()
    async with doors() as bridge:
        for path, headers in itertools.product(bridge.doors, wrong):
            response = await asgi.post(bridge.doors[path], path, body, {"content-type": "application/json", **headers})
            assert response.status == 401
            assert b"allow" not in response.body
        assert bridge.intake.logins == []


async def test_the_secret_in_a_header_of_its_own() -> None:
    async with doors() as bridge:
        headers = {"content-type": "application/json", "x-broker-secret": SECRET}
        body = json.dumps({"username": "tenant-a/device-1", "password": TOKEN}).encode()
        assert (await asgi.post(bridge.doors["/mqtt/auth"], "/mqtt/auth", body, headers)).status == 200


async def test_without_a_secret_there_is_nothing() -> None:
    async with scripted_broker() as broker, bridging(broker.port) as bridge:
        assert bridge.doors == {}


async def test_what_is_no_question_is_never_told_yes() -> None:
    bodies = [
        *(b"", b"[]", b"{", b"\xff", b'{"username": 1}', b'{"username": {"a": "b"}, "password": "x"}', b"[" * 100_000),
        b'{"username":"' + b"x" * 300_000 + b'"}',
    ]
    async with doors() as bridge:
        for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
            for path, body in itertools.product(bridge.doors, bodies):
                response = await asgi.post(bridge.doors[path], path, body, {"content-type": kind, **BEARER})
                assert response.status in {400, 403} or json.loads(response.body)["result"] == "deny"


async def test_when_we_cannot_know_the_answer_is_no_yes() -> None:
    async with doors() as bridge:
        bridge.intake.store_down = True
        login = {"username": "tenant-a/device-1", "password": TOKEN, "action": "connect"}
        assert await emqx(bridge, "/mqtt/auth", **login) == "ignore"
        bridge.intake.store_down = False
        bridge.intake.delay_s = 0.2
        asked = [asyncio.create_task(emqx(bridge, "/mqtt/auth", **login)) for _ in range(400)]
        answers = await asyncio.gather(*asked)
        assert set(answers) == {"allow", "ignore"}, "only so many at once"


PAGE = ROOT.joinpath("docs/how-to/mqtt-bridge.md").read_text()


def test_the_configurations_on_the_page_are_valid(tmp_path: Path) -> None:
    samples = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(samples) == 3
    for sample in samples:
        section = tomllib.loads(sample)["plugins"]["mqtt_bridge"]
        assert BridgeConfig.model_validate(section).addresses
    file = tmp_path / "pulse.toml"
    file.write_text(samples[0])
    assert "mqtt_bridge" in load_config(file).plugins.enabled


async def test_what_the_page_tells_emqx_is_understood() -> None:
    login, rights = (json.loads(text) for text in re.findall(r"^ +body = (.*)$", PAGE, re.MULTILINE))
    headers = {json.loads(text)["x-broker-secret"] for text in re.findall(r"^ +headers = (.*)$", PAGE, re.MULTILINE)}
    assert headers == {tomllib.loads(PAGE.split("```toml")[3].split("```")[0])["plugins"]["mqtt_bridge"]["auth_secret"]}
    said = {
        "username": "tenant-a/device-1",
        "password": TOKEN,
        "clientid": "c",
        "topic": OWN + "x",
        "action": "publish",
    }

    def filled_in(template: dict[str, str], **changed: str) -> dict[str, str]:
        return {name: string.Template(text).substitute({**said, **changed}) for name, text in template.items()}

    async with doors() as bridge:
        assert await emqx(bridge, "/mqtt/auth", **filled_in(login)) == "allow"
        assert await emqx(bridge, "/mqtt/auth", **filled_in(login, password="another")) == "deny"
        assert await emqx(bridge, "/mqtt/acl", **filled_in(rights)) == "allow"
        assert await emqx(bridge, "/mqtt/acl", **filled_in(rights, topic="else/where")) == "deny"
