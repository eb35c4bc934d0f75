"""Valid configurations of every bundled channel, made up by Hypothesis."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

import pulse_email
import pulse_mqtt_channel
import pulse_snmp
import pulse_webhook
from support.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import Channel

sys.path.append(str(ROOT / "contrib/pulse-slack"))

import pulse_slack

PLUGINS = (pulse_email, pulse_mqtt_channel, pulse_slack, pulse_snmp, pulse_webhook)
CHANNELS: dict[str, type[Channel[Any]]] = {
    channel.name: channel for plugin in PLUGINS for channel in plugin.pulse_register_channels()
}

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0{}%#"), max_size=60)
_line = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="{}%#"), max_size=40)
_word = st.from_regex(r"[a-z][a-z0-9]{0,11}", fullmatch=True)
_host = st.builds("{}.example.com".format, _word)
_secret = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)
_address = st.builds("{}@{}".format, _word, _host)
_signing = st.binary(min_size=24, max_size=64).map(lambda raw: f"whsec_{base64.b64encode(raw).decode()}")
_headers = st.dictionaries(st.from_regex(r"X-[A-Za-z0-9.~_-]{1,20}", fullmatch=True), _secret, max_size=5).filter(
    lambda found: len({name.lower() for name in found}) == len(found)
)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def _logged_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """With a user and a password, or with neither."""
    lacking = config["user"] is None or config["password"] is None
    return {**config, **({"user": None, "password": None} if lacking else {})}


_email = st.fixed_dictionaries(
    {
        "host": _host,
        "port": _maybe(st.integers(1, 65535)),
        "tls": st.sampled_from(["starttls", "implicit", "none"]),
        "user": _maybe(_word),
        "password": _maybe(_secret),
        "from_address": _address,
        "from_name": _line,
        "to": st.lists(_address, min_size=1, max_size=10),
        "cc": st.lists(_address, max_size=10),
        "bcc": st.lists(_address, max_size=10),
        "format": st.sampled_from(["html", "text", "both"]),
        "subject_template": _line.filter(str.strip),
        "html_template": _maybe(_text),
        "text_template": _maybe(_text),
    }
).map(_logged_in)

_mqtt = st.fixed_dictionaries(
    {
        "url": st.builds("mqtts://{}:{}".format, _host, st.integers(1, 65535)),
        "user": _maybe(_word),
        "password": _maybe(_secret),
        "topic_template": st.builds("{}/{{device_id}}/{}".format, _word, _word),
        "qos": st.sampled_from([0, 1, 2]),
        "retain": st.booleans(),
        "protocol": st.sampled_from(["5", "3.1.1"]),
    }
).map(_logged_in)

_snmp_2c = st.fixed_dictionaries({"host": _host, "version": st.just("2c"), "community": _secret})
_snmp_3 = st.fixed_dictionaries(
    {
        "host": _host,
        "port": st.integers(1, 65535),
        "version": st.just("3"),
        "notification": st.sampled_from(["trap", "inform"]),
        "community": _maybe(st.just("")),
        "user": _word,
        "auth_protocol": st.sampled_from(["MD5", "SHA-256"]),
        "auth_password": _secret,
        "priv_protocol": st.sampled_from(["DES", "AES-256-C"]),
        "priv_password": _secret,
        "engine_boots": st.integers(1, 2**31 - 2),
        "timeout_s": st.floats(0.5, 14.0),
    }
)

CONFIGS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "email": _email,
    "mqtt": _mqtt,
    "slack": st.fixed_dictionaries(
        {"webhook_url": st.builds("https://hooks.example.com/{}".format, _word), "mention": _text}
    ),
    "snmp": _snmp_2c | _snmp_3,
    "webhook": st.fixed_dictionaries(
        {
            "url": st.builds("https://{}/{}?a=%20&b={}".format, _host, _word, _word),
            "secret": _signing,
            "previous_secret": _maybe(_signing),
            "headers": _headers,
        }
    ),
}
