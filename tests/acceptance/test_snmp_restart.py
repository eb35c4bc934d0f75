"""SNMPv3 traps of a product that is restarted and killed, as a real receiver judges them (RFC 3414 section 3.2).

A receiver derives the user's keys from our engine id, and drops without a word what seems to be a replay.
"""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from support.product import Product, free_ports
from support.snmptrapd import SnmpTrapd, snmptrapd, text_of
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AUTH, PRIV = "authentication of tests", "encryption of tests"
DEVICE = "1.3.6.1.4.1.99999.1.2.0"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    running = Product(tmp_path / "product", more_plugins=["snmp"])
    running.start()
    yield running
    running.stop()


def alarm(product: Product, daemon: SnmpTrapd, name: str) -> None:
    """A device reports once and falls silent; wait until the receiver has accepted the trap about it."""
    ((tenant, device, site, token),) = product.add_devices("tenant-a", 1, prefix=name)
    url = f"http://127.0.0.1:{product.http_port}/ingest/v1/tenant/{tenant}/device/{device}/telemetry"
    headers = {"X-Provision-Token": token, "Content-Type": "application/json"}
    body = json.dumps({"site_id": site, "metrics": {"v": 1}}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
        assert answer.status == 202
    until_sync(
        lambda: device in {text_of(each[DEVICE]) for each in daemon.notifications()},
        what=f"the trap about {device}",
        within_s=60,
    )


def test_traps_are_accepted_before_and_after_a_restart(product: Product, tmp_path: Path) -> None:
    product.admin("tenants", {"tenant_id": "tenant-a", "stale_after_s": 1})
    (port,) = free_ports(1)
    config = {"host": "127.0.0.1", "port": port, "version": "3", "user": "pulse"}
    config |= {"auth_protocol": "SHA-256", "auth_password": AUTH, "priv_protocol": "AES-128", "priv_password": PRIV}
    made = product.admin("integrations", {"tenant_id": "tenant-a", "type": "snmp", "name": "x", "config": config})
    product.admin("integration-routes", {"tenant_id": "tenant-a", "integration_id": made["integration_id"]})
    engine_id = made["config"]["engine_id"]
    user = f'createUser -e 0x{engine_id} pulse SHA-256 "{AUTH}" AES "{PRIV}"'
    with snmptrapd(tmp_path / "trapd", user, port=port) as daemon:
        alarm(product, daemon, "first")
        product.kill("deliver")
        alarm(product, daemon, "killed")
        product.stop()
        product.start()
        alarm(product, daemon, "restarted")
    (shown,) = product.pages("integrations")
    assert shown["config"]["engine_id"] == engine_id
    assert AUTH not in product.log()
