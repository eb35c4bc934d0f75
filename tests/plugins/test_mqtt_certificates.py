"""Whom a client certificate names, by the operator's template."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pulse_core.api import DeviceKey
from pulse_mqtt.certificates import Naming
from pulse_mqtt.config import MqttConfig

IDS = st.text("abzABZ019_.:-", min_size=1, max_size=64)
DEVICE = DeviceKey("acme", "pump-1")


def certificate(*subject: tuple[str, str], names: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    return {"subject": tuple((pair,) for pair in subject), "subjectAltName": names}


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("CN={tenant_id}/{device_id}", certificate(("commonName", "acme/pump-1"))),
        ("CN={device_id}/{tenant_id}", certificate(("commonName", "pump-1/acme"))),
        ("CN=x-{tenant_id}@/{device_id}.y", certificate(("commonName", "x-acme@/pump-1.y"))),
        (
            "O={tenant_id},CN={device_id}",
            certificate(("countryName", "CH"), ("organizationName", "acme"), ("commonName", "pump-1")),
        ),
        (
            "OU=devices, O={tenant_id}, CN={device_id}",
            certificate(("commonName", "pump-1"), ("organizationName", "acme"), ("organizationalUnitName", "devices")),
        ),
        ("UID={device_id},DC={tenant_id}", certificate(("userId", "pump-1"), ("domainComponent", "acme"))),
        (
            "URI=spiffe://pulse/{tenant_id}/{device_id}",
            certificate(("commonName", "x"), names=(("DNS", "x"), ("URI", "spiffe://pulse/acme/pump-1"))),
        ),
    ],
)
def test_a_certificate_names_a_device(template: str, shown: dict[str, Any]) -> None:
    assert Naming(template).key_of(shown) == DEVICE


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("CN={tenant_id}/{device_id}", {}),
        ("CN={tenant_id}/{device_id}", certificate()),
        ("CN={tenant_id}/{device_id}", certificate(("organizationName", "acme/pump-1"))),
        ("CN={tenant_id}/{device_id}", certificate(("commonName", "acme"))),
        ("CN={tenant_id}/{device_id}", certificate(("commonName", "acme/"))),
        ("CN={tenant_id}/{device_id}", certificate(("commonName", "acme/pump-1/x"))),
        ("CN={tenant_id}/{device_id}", certificate(("commonName", "acme/pump-1\n"))),
        ("CN={tenant_id}/{device_id}", certificate(("commonName", "acme/pump-1\0"))),
        ("CN={tenant_id}/{device_id}", certificate(("commonName", "acme/pümp"))),
        ("CN={tenant_id}/{device_id}", certificate(("commonName", "acme/" + "x" * 129))),
        ("CN={tenant_id}/{device_id}", certificate(("commonName", "acme/pump-1"), ("commonName", "acme/pump-1"))),
        ("CN={tenant_id}.x/{device_id}", certificate(("commonName", "acmeyx/pump-1"))),
        ("OU=devices,CN={tenant_id}/{device_id}", certificate(("commonName", "acme/pump-1"))),
        (
            "OU=devices,CN={tenant_id}/{device_id}",
            certificate(("commonName", "acme/pump-1"), ("organizationalUnitName", "people")),
        ),
        (
            "URI=x://{tenant_id}/{device_id}",
            certificate(names=(("URI", "x://acme/pump-1"), ("URI", "x://acme/pump-2"))),
        ),
    ],
)
def test_a_certificate_names_nobody(template: str, shown: dict[str, Any]) -> None:
    assert Naming(template).key_of(shown) is None


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("", "once each"),
        ("CN={device_id}", "once each"),
        ("CN={tenant_id}/{tenant_id}", "once each"),
        ("CN={tenant_id}/{device_id},O={tenant_id}", "once each"),
        ("CN={tenant_id}/{device_id},O={site_id}", "once each"),
        ("CN={tenant_id}/{device_id},O={}", "once each"),
        ("{tenant_id}/{device_id}", "ATTRIBUTE=PATTERN"),
        ("X={tenant_id}/{device_id}", "ATTRIBUTE=PATTERN"),
        ("CN={tenant_id}/{device_id},", "ATTRIBUTE=PATTERN"),
        ("CN={tenant_id}/{device_id},O=", "ATTRIBUTE=PATTERN"),
        ("CN={tenant_id},CN={device_id}", "twice"),
        ("CN={tenant_id}-{device_id}", "no id has"),
        ("CN={tenant_id}{device_id}", "no id has"),
    ],
)
def test_a_template_that_could_mean_two_devices_or_none(template: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Naming(template)
    with pytest.raises(ValidationError, match=why):
        MqttConfig(tls_client_subject=template)


@given(IDS, IDS, st.sampled_from(["CN={tenant_id}/{device_id}", "CN=a-{device_id}-/-{tenant_id}:b"]))
def test_every_name_is_read_as_it_was_written(tenant_id: str, device_id: str, template: str) -> None:
    written = template.removeprefix("CN=").format(tenant_id=tenant_id, device_id=device_id)
    assert Naming(template).key_of(certificate(("commonName", written))) == DeviceKey(tenant_id, device_id)


@pytest.mark.parametrize(
    "config",
    [
        {"tls_client_ca": "ca.pem"},
        {"tls_cert": "cert.pem", "tls_client_crl": "crl.pem"},
        {"tls_cert": "cert.pem", "tls_client_cert": "required"},
    ],
)
def test_settings_that_need_others(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="need"):
        MqttConfig(**config)
