"""A backup under load, brought back elsewhere: what was acknowledged is there, the books balance, secrets are read."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from support.chaos import Fleet
from support.ledger import judge, read_ledger
from support.product import Device, Product, add_devices
from support.waiting import until_sync
from support.webhook_receiver import Receiver, receiving

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
UNGUARDED = """
    SELECT relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    AND NOT (relrowsecurity AND relforcerowsecurity)
    AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id')
"""
TABLES = ("telemetry", "alerts", "deliveries", "delivery_attempts", "device_state")

pytestmark = pytest.mark.timeout(300)


def arrange(product: Product, receiver: Receiver) -> list[Device]:
    """Two tenants: one that sends, one whose devices fall silent and whose webhook is told, with its secret."""
    product.raise_limits()
    load = product.add_devices("load", 5, prefix="load", stale_after_s=3600)
    product.admin("tenants", {"tenant_id": "watched", "stale_after_s": 1})
    config = {"url": receiver.url, "secret": SECRET}
    wanted = {"tenant_id": "watched", "type": "webhook", "name": "x", "config": config}
    made = product.admin("integrations", wanted)
    product.admin("integration-routes", {"tenant_id": "watched", "integration_id": made["integration_id"]})
    return load


def speak_once(product: Product, folder: Path, name: str) -> None:
    """A new device of the watched tenant says something, and then no more."""
    with product.superuser() as connection:
        devices = add_devices(connection, "watched", 1, prefix=name)
    fleet = Fleet(product, folder, name, devices, 5.0)
    until_sync(lambda: read_ledger(fleet.ledger), what=f"{name} acknowledged")
    fleet.stop()


def wait_until_told(receiver: Receiver, name: str) -> None:
    """The receiver checks each webhook's signature, so that only a secret that was decrypted gets there."""
    until_sync(
        lambda: f"{name}-000000" in {each["device_id"] for each in receiver.got},
        what=f"the webhook about {name}",
        within_s=60,
    )


def test_a_backup_under_load_comes_back_whole(tmp_path: Path) -> None:
    before, after = (Product(tmp_path / name, secret_key=None) for name in ("before", "after"))
    file, noted = tmp_path / "pulse.backup", tmp_path / "noted.ledger"
    with receiving(SECRET) as receiver:
        try:
            before.start()
            load = arrange(before, receiver)
            speak_once(before, tmp_path, "silent")
            wait_until_told(receiver, "silent")
            fleet = Fleet(before, tmp_path, "load", load, 200.0)
            until_sync(lambda: len(read_ledger(fleet.ledger).get(0, ())) > 50, what="readings")
            shutil.copy(fleet.ledger, noted)
            said = before.pulse("backup", str(file), "--with-key")
            assert said.returncode == 0, said.stderr
            until_sync(lambda: fleet.ledger.stat().st_size > 2 * noted.stat().st_size, what="work goes on")
            assert fleet.stop()["unanswered"] == 0
        finally:
            before.stop()
        try:
            said = after.pulse("restore", str(file))
            assert said.returncode == 0, said.stderr
            assert (after.data_dir / "secret.key").read_text() == (before.data_dir / "secret.key").read_text()
            after.start()
            verdict = judge(read_ledger(noted), after.shown_seqs(load))
            assert verdict.acknowledged > 200
            assert verdict.holds, str(verdict)
            assert after.ledger()["balanced"], after.ledger()
            with after.superuser() as connection:
                assert connection.execute(UNGUARDED).fetchall() == []
                for table in TABLES:
                    assert connection.execute(f"SELECT FROM {table} LIMIT 1".encode()).rowcount == 1, table
            speak_once(after, tmp_path, "later")
            wait_until_told(receiver, "later")
        finally:
            after.stop()
