"""What topics and filters mean, what a configuration may say, and which libraries are known: all without a broker."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from pydantic import ValidationError

from pulse_core.api import ConfigError, DeviceKey, PermanentFailure
from pulse_core.testing.intake import LogOnly
from pulse_mqtt_bridge import BridgeIngester
from pulse_mqtt_bridge.arrivals import read_publish
from pulse_mqtt_bridge.backoff import Backoff
from pulse_mqtt_bridge.config import BridgeConfig
from pulse_mqtt_bridge.filters import is_filter, is_topic, matches, unshared
from pulse_mqtt_bridge.rights import Action, bridge_may, device_may, key_of
from pulse_mqtt_bridge.selfcheck import OF_AIOMQTT, OF_PAHO, check_client
from pulse_mqtt_bridge.topics import TopicMap
from support import mqtt311 as mqtt

if TYPE_CHECKING:
    from pathlib import Path

USUAL = TopicMap("tenant/{tenant_id}/device/{device_id}/{msg_type}")
KEY = DeviceKey("a", "b")


@pytest.mark.parametrize(
    ("template", "fixed", "topic", "named"),
    [
        ("tenant/{tenant_id}/device/{device_id}/{msg_type}", {}, "tenant/a/device/b/event", ("a", "b", "event")),
        ("plants/{tenant_id}/{device_id}/up/{msg_type}", {}, "plants/a/b/up/telemetry", ("a", "b", "telemetry")),
        ("{tenant_id}/+/d-{device_id}.raw/{msg_type}", {}, "a/x/d-b.raw/event", ("a", "b", "event")),
        ("{device_id}/#", {"tenant_id": "a", "msg_type": "event"}, "b/1/2", ("a", "b", "event")),
        ("{device_id}/#", {"tenant_id": "a", "msg_type": "event"}, "b", ("a", "b", "event")),
        ("{device_id}/+", {"tenant_id": "a", "msg_type": "event"}, "b/", ("a", "b", "event")),
        ("x.y/{device_id}", {"tenant_id": "a", "msg_type": "event"}, "xzy/b", None),
        ("{device_id}/+", {"tenant_id": "a", "msg_type": "event"}, "b/1/2", None),
        ("tenant/{tenant_id}/device/{device_id}/{msg_type}", {}, "tenant/a/device/b/event/more", None),
        ("tenant/{tenant_id}/device/{device_id}/{msg_type}", {}, "tenant/a/device//event", None),
        ("tenant/{tenant_id}/device/{device_id}/{msg_type}", {}, "tenant/ä/device/b/event", None),
        ("tenant/{tenant_id}/device/{device_id}/{msg_type}", {}, "tenant/a/device/b/event\n", ("a", "b", "event\n")),
        ("tenant/{tenant_id}/device/{device_id}/{msg_type}", {}, f"tenant/a/device/{'b' * 129}/event", None),
    ],
)
def test_reads_a_topic(template: str, fixed: dict[str, str], topic: str, named: tuple[str, str, str] | None) -> None:
    assert TopicMap(template, **fixed).read(topic) == named


@pytest.mark.parametrize(
    ("template", "topic_filter"),
    [
        ("tenant/{tenant_id}/device/{device_id}/{msg_type}", "tenant/+/device/+/+"),
        ("a/d-{device_id}/{tenant_id}/+/{msg_type}/#", "a/+/+/+/+/#"),
    ],
)
def test_subscribes_to_what_it_reads(template: str, topic_filter: str) -> None:
    assert TopicMap(template).filter == topic_filter


@pytest.mark.parametrize(
    ("template", "fixed"),
    [
        ("tenant/{tenant_id}/{device_id}", {}),
        ("{tenant_id}/{device_id}/{msg_type}/{site_id}", {}),
        ("{tenant_id}/{device_id}/{msg_type}/{tenant_id}", {}),
        ("{tenant_id}-{device_id}/{msg_type}", {}),
        ("{tenant_id}/{device_id}/{msg_type}", {"tenant_id": "a"}),
        ("#/{tenant_id}/{device_id}/{msg_type}", {}),
        ("x+/{tenant_id}/{device_id}/{msg_type}", {}),
        ("$share/g/{tenant_id}/{device_id}/{msg_type}", {}),
        ("{/{tenant_id}/{device_id}/{msg_type}", {}),
        ("", {}),
    ],
)
def test_a_template_that_is_none(template: str, fixed: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"topic|stand"):
        TopicMap(template, **fixed)


@given(st.text(), st.text())
def test_any_template_and_topic_are_read_or_refused(template: str, topic: str) -> None:
    try:
        topics = TopicMap(template)
    except ValueError:
        topics = USUAL
    named = topics.read(topic)
    assert named is None or (named.tenant_id and named.device_id)


def test_filters() -> None:
    good = ["a", "/", "a/+/b", "+", "#", "a/#", "a//b", "$share/g/a/+", "tenant/a/device/b/#"]
    bad = ["", "a+", "a/#/b", "#a", "$share/g", "$share//a", "$share/g/", "$share/g+/a", "a\0", "\ud800", "x" * 65_536]
    assert [each for each in good if not is_filter(each)] == []
    assert [each for each in bad if is_filter(each)] == []
    assert is_topic("a/b")
    assert not is_topic("a/+")
    assert unshared("$share/g/a/#") == "a/#"
    assert unshared("a/$share/b") == "a/$share/b"


@pytest.mark.parametrize(
    ("topic_filter", "topic", "reached"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/b/d", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("+", "", True),
    ],
)
def test_matching(topic_filter: str, topic: str, reached: bool) -> None:
    assert matches(topic_filter, topic) is reached


def test_user_names() -> None:
    assert key_of("a/b") == KEY
    for wrong in ("", "a", "a/", "/b", "a/b/c", "a/b ", "ä/b", f"{'a' * 65}/b", "a/b\n"):
        assert key_of(wrong) is None


@pytest.mark.parametrize(
    ("action", "topic", "allowed"),
    [
        (Action.PUBLISH, "tenant/a/device/b/telemetry", True),
        (Action.PUBLISH, "tenant/a/device/b/x/y", True),
        (Action.PUBLISH, "tenant/a/device/b/", False),
        (Action.PUBLISH, "tenant/a/device/b", False),
        (Action.PUBLISH, "tenant/a/device/bb/telemetry", False),
        (Action.PUBLISH, "tenant/a/device/c/telemetry", False),
        (Action.PUBLISH, "tenant/a/device/b/+", False),
        (Action.PUBLISH, "tenant/a/device/b/#", False),
        (Action.SUBSCRIBE, "tenant/a/device/b/#", True),
        (Action.SUBSCRIBE, "tenant/a/device/b/cmd/+", True),
        (Action.SUBSCRIBE, "tenant/a/device/b/x+", False),
        (Action.SUBSCRIBE, "tenant/a/device/+/cmd", False),
        (Action.SUBSCRIBE, "tenant/+/device/b/#", False),
        (Action.SUBSCRIBE, "tenant/a/#", False),
        (Action.SUBSCRIBE, "#", False),
        (Action.SUBSCRIBE, "+/a/device/b/cmd", False),
        (Action.SUBSCRIBE, "$share/g/tenant/a/device/b/#", False),
        (Action.SUBSCRIBE, "$share/g/#", False),
        (Action.SUBSCRIBE, "$SYS/#", False),
        (Action.RECEIVE, "tenant/a/device/b/cmd/x", True),
        (Action.RECEIVE, "tenant/a/device/c/cmd/x", False),
    ],
)
def test_what_a_device_may(action: Action, topic: str, allowed: bool) -> None:
    assert device_may(KEY, action, topic, USUAL) is allowed


def test_a_device_publishes_where_the_bridge_looks_for_it() -> None:
    topics = TopicMap("plants/{tenant_id}/{device_id}/up/{msg_type}")
    assert device_may(KEY, Action.PUBLISH, "plants/a/b/up/event", topics)
    assert not device_may(KEY, Action.PUBLISH, "plants/a/c/up/event", topics)
    assert not device_may(KEY, Action.PUBLISH, "plants/a/b/up/+", topics)
    assert not device_may(KEY, Action.SUBSCRIBE, "plants/a/b/up/event", topics)
    assert not device_may(KEY, Action.RECEIVE, "plants/a/b/up/event", topics)


def test_what_the_bridge_may() -> None:
    own = ("$share/pulse/tenant/+/device/+/+",)
    assert bridge_may(own, Action.SUBSCRIBE, own[0])
    assert bridge_may(own, Action.SUBSCRIBE, "tenant/+/device/+/+")
    assert bridge_may(own, Action.RECEIVE, "tenant/a/device/b/event")
    assert not bridge_may(own, Action.SUBSCRIBE, "#")
    assert not bridge_may(own, Action.RECEIVE, "else/where")
    assert not bridge_may(own, Action.PUBLISH, "tenant/a/device/b/event")


@pytest.mark.parametrize(
    "config",
    [
        {"urls": ["http://broker"]},
        {"urls": ["mqtt://user:secret@broker"]},
        {"urls": ["mqtt://broker/path"]},
        {"urls": ["mqtt://"]},
        {"urls": ["mqtt://broker:99999"]},
        {"filters": ["a/#/b"]},
        {"topic": "nothing"},
        {"tenant_id": "a b"},
        {"msg_type": "gossip", "topic": "{tenant_id}/{device_id}"},
        {"auth_secret": "short"},
        {"password": "x" * 20},
        {"client_key": "x.pem"},
        {"share": "a/b"},
        {"client_id": ""},
        {"qos": 3},
        {"trustd": True},
    ],
)
def test_configurations_that_are_none(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        BridgeConfig.model_validate(config)
    assert "secret@" not in str(refused.value)
    assert "x" * 20 not in str(refused.value)


def test_a_broker_must_be_named() -> None:
    with pytest.raises(ConfigError, match="urls"):
        BridgeIngester(BridgeConfig(), LogOnly())


def test_ports_and_addresses() -> None:
    config = BridgeConfig(urls=("mqtt://broker.example", "mqtts://[::1]", "mqtts://10.0.0.1:8884"))
    assert [str(each) for each in config.addresses] == [
        "mqtt://broker.example:1883",
        "mqtts://[::1]:8883",
        "mqtts://10.0.0.1:8884",
    ]
    assert config.subscriptions == ("$share/pulse/tenant/+/device/+/+",)
    assert BridgeConfig(filters=("a/#",)).subscriptions == ("a/#",)


async def test_the_self_check_tries_the_files(tmp_path: Path) -> None:
    await BridgeIngester.check(BridgeConfig(urls=("mqtts://broker.example",)))
    wrong = BridgeConfig(urls=("mqtts://broker.example",), ca_file=tmp_path / "missing.pem")
    with pytest.raises(PermanentFailure, match="ca_file"):
        await BridgeIngester.check(wrong)


@pytest.mark.parametrize("found", [{"aiomqtt": "2.4.9"}, {"aiomqtt": "2.6.0"}, {"paho-mqtt": "2.3.0"}])
def test_another_version_of_the_client_is_refused(found: dict[str, str]) -> None:
    with pytest.raises(PermanentFailure, match="was not tested"):
        check_client(found)


@pytest.mark.parametrize("name", [*OF_AIOMQTT, *OF_PAHO])
def test_a_client_that_lacks_what_we_use_is_refused(name: str) -> None:
    def without(whole: type, name: str) -> type:
        return type(
            "Less", (), {each: getattr(whole, each, None) for each in dir(whole) if each[:2] != "__"} | {name: 0}
        )

    outer = without(aiomqtt.Client, name) if name in OF_AIOMQTT else aiomqtt.Client
    inner = without(Client, name) if name in OF_PAHO else Client
    with pytest.raises(PermanentFailure, match=f"lacks {name}"):
        check_client(outer=outer, inner=inner)


def test_pauses_grow_to_a_limit_and_begin_anew_after_a_connection_that_lasted() -> None:
    backoff = Backoff(1.0, 60.0)
    pauses = [backoff.next_s() for _ in range(200)]
    for number, pause_s in enumerate(pauses):
        whole_s = min(60.0, 2.0 ** min(number, 10))
        assert whole_s / 2 <= pause_s <= whole_s
    assert len(set(pauses[10:])) > 100, "by chance"
    assert any(later < sooner for sooner, later in pairwise(pauses[10:]))
    assert backoff.next_s(59.0) >= 30
    assert backoff.next_s(61.0) <= 1


@given(st.binary(max_size=40), st.integers(0, 15), st.booleans())
def test_any_publish_is_read_or_refused(body: bytes, flags: int, five: bool) -> None:
    try:
        arrival = read_publish(0x30 | flags, body, five=five)
    except ValueError:
        return
    assert arrival.qos < 3
    assert bool(arrival.packet_id) is (arrival.qos > 0)
    assert body.endswith(arrival.payload)


@given(st.text(max_size=20), st.binary(max_size=200), st.integers(0, 2), st.integers(1, 65535), st.binary(max_size=300))
def test_reads_what_was_written(topic: str, payload: bytes, qos: int, packet_id: int, properties: bytes) -> None:
    head = mqtt.text(topic.encode("utf-8", "replace")) + (packet_id.to_bytes(2, "big") if qos else b"")
    old = read_publish(0x30 | qos << 1, head + payload, five=False)
    new = read_publish(0x3A & 0xF9 | qos << 1, head + mqtt.length(len(properties)) + properties + payload, five=True)
    assert (old.payload, old.packet_id, old.again) == (payload, packet_id if qos else 0, False)
    assert (new.payload, new.packet_id, new.again) == (payload, packet_id if qos else 0, True)
