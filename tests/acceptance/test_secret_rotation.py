"""The secret key replaced under a running product: nothing is lost, and the old key is worth nothing afterwards."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pulse_core.errors import SecretUnreadable
from pulse_core.secrets import SecretBox
from pulse_postgres.accounts import ROLES, role_password
from pulse_postgres.migrate import migrate
from pulse_server.embedded import EmbeddedPostgres
from pulse_server.exits import DO_NOT_RESTART
from support.product import Product, add_devices
from support.waiting import until_sync
from support.webhook_receiver import Receiver, receiving

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET, HEADER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "Bearer t0k3n-of-the-receiver"
KEY, NEW_KEY = "0f" * 20 + "first key", "1e" * 20 + "second key"

pytestmark = pytest.mark.timeout(300)


class Story:
    """A product whose tenant has a webhook; every device that reports once falls silent, and is told of."""

    def __init__(self, product: Product, receiver: Receiver, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self.product = product
        self.receiver = receiver
        self.said: list[str] = []
        self._connect = connect

    def arrange(self) -> None:
        """Make the tenant, the webhook with its secrets, and the route."""
        self.product.admin("tenants", {"tenant_id": "tenant-a", "stale_after_s": 1})
        config = {"url": self.receiver.url, "secret": SECRET, "headers": {"Authorization": HEADER}}
        made = self.product.admin(
            "integrations", {"tenant_id": "tenant-a", "type": "webhook", "name": "x", "config": config}
        )
        self.product.admin("integration-routes", {"tenant_id": "tenant-a", "integration_id": made["integration_id"]})
        self.said.append(json.dumps(made))

    def report(self, device: str) -> None:
        """A new device says something, for the first and last time."""
        with self._connect() as connection:
            ((tenant, device_id, site, token),) = add_devices(connection, "tenant-a", 1, prefix=device)
        url = f"http://127.0.0.1:{self.product.http_port}/ingest/v1/tenant/{tenant}/device/{device_id}/telemetry"
        headers = {"X-Provision-Token": token, "Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps({"site_id": site, "metrics": {"v": 1}}).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 202

    def told(self, device: str) -> None:
        """Wait until the receiver has verified the webhook about it."""
        until_sync(
            lambda: f"{device}-000000" in {each["device_id"] for each in self.receiver.got},
            what=f"the webhook about {device}",
            within_s=60,
        )

    def alarm(self, device: str) -> None:
        """From a device's message to a signed webhook."""
        self.report(device)
        self.told(device)

    def pulse(self, *arguments: str, code: int = 0) -> str:
        """A command; its output is kept for :meth:`hides`."""
        done: subprocess.CompletedProcess[str] = self.product.pulse(*arguments)
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == code, self.said[-1]
        return self.said[-1]

    def cut_off(self) -> None:
        """End every connection of the product to its database: it must make new ones, with its passwords of now."""
        with self._connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'pulse_%'")
        until_sync(self.product.ready, what="readiness")

    def blob(self) -> bytes:
        """What a dump of the database holds of the webhook's secrets."""
        with self._connect() as connection:
            row = connection.execute("SELECT secrets FROM integrations").fetchone()
        assert row
        return bytes(row[0])

    def look(self) -> None:
        """Take down what the product shows of itself while it runs."""
        for command in ("doctor", "plugins", "tenants list --json", "integrations list --json", "routes list"):
            done = self.product.pulse(*command.split())
            self.said.append(done.stdout + done.stderr)
        for path in ("integrations", "tenants", "deliveries", "alerts"):
            self.said += [json.dumps(each) for each in self.product.pages(path)]
        self.said += [" ".join(each.cmdline()) for each in self.product.everything()]
        self.said += [each.read_text() for each in (self.product.data_dir / "run").glob("*.json")]
        with urllib.request.urlopen(f"http://127.0.0.1:{self.product.web_port}/metrics", timeout=30) as answer:
            self.said.append(answer.read().decode())

    def hides(self, *keys: str) -> None:
        """Nothing that was said or logged holds a key, what is derived from it, or a secret of the webhook."""
        hidden = [*keys, SECRET, HEADER, *(role_password(role, key) for role in ROLES for key in keys)]
        shown = "\n".join((*self.said, self.product.log()))
        assert not [each[:4] for each in hidden if each in shown]
        assert len(shown) > 5000, "a good part of what it says was looked at"


def unreadable(blob: bytes, key: str) -> bool:
    try:
        SecretBox(key).open(blob)
    except SecretUnreadable:
        return True
    return False


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A product that generates its key, on the embedded database."""
    product = Product(tmp_path / "product", secret_key=None)
    with receiving(SECRET) as receiver:
        product.start()
        made = Story(product, receiver, product.superuser)
        made.arrange()
        yield made
        product.stop()


def test_a_generated_key_is_replaced_while_alerts_go_out(story: Story) -> None:
    product, file = story.product, story.product.data_dir / "secret.key"
    (old,) = file.read_text().split()
    story.alarm("before")
    dump = story.blob()

    assert "then run `pulse secrets rotate`" in story.pulse("secrets", "new-key")
    new, _ = file.read_text().split()
    story.alarm("new-key")
    product.kill("deliver")
    story.alarm("crashed")
    assert "tenant-a" in story.pulse("tenants", "list")
    assert "restart the platform first" in story.pulse("secrets", "rotate", code=DO_NOT_RESTART)
    assert "restart the platform first" in story.pulse("secrets", "rotate", "--forget", code=DO_NOT_RESTART)

    story.report("restart")
    product.stop()
    product.start()
    story.told("restart")
    story.alarm("restarted")
    assert SecretBox(old).is_current(story.blob())

    story.report("rotate")
    assert "1 encrypted anew, 0 were already" in story.pulse("secrets", "rotate")
    story.told("rotate")
    story.alarm("rotated")
    assert "0 encrypted anew, 1 were already" in story.pulse("secrets", "rotate", "--forget")
    assert file.read_text().split() == [new]
    story.alarm("forgotten")
    product.stop()
    product.start()
    story.alarm("without")

    assert unreadable(story.blob(), old), "whoever has the old key reads nothing in a dump of today"
    assert not unreadable(story.blob(), new)
    assert SecretBox(old).open(dump)["/secret"] == SECRET, "the control: the key did read the dump of yesterday"
    story.look()
    assert story.receiver.refused == 0
    story.hides(old, new)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Story]:
    """A product with a configured key, on a database that it does not start itself."""
    server = EmbeddedPostgres(tmp_path / "elsewhere")
    url = server.start()
    migrate(url, KEY)
    product = Product(tmp_path / "product", secret_key=KEY)
    product._config.write_text(f'database_url = "{url}"\n{product._config.read_text()}')
    with receiving(SECRET) as receiver:
        product.start()
        made = Story(product, receiver, lambda: psycopg.connect(url, autocommit=True))
        made.arrange()
        yield made
        product.stop()
        server.stop()


def test_a_configured_key_is_replaced_on_a_database_of_ones_own(elsewhere: Story) -> None:
    story, product = elsewhere, elsewhere.product
    story.alarm("before")
    text = product._config.read_text()
    both = f'secret_key = "{NEW_KEY}"\nprevious_secret_keys = ["{KEY}"]'
    product._config.write_text(text.replace(f'secret_key = "{KEY}"', both))
    assert "tenant-a" in story.pulse("tenants", "list")
    assert "restart the platform first" in story.pulse("secrets", "rotate", code=DO_NOT_RESTART)

    story.report("restart")
    product.stop()
    product.start()
    story.told("restart")
    assert "run `pulse migrate`" in story.pulse("secrets", "rotate", code=DO_NOT_RESTART)
    story.pulse("migrate")
    story.cut_off()
    story.alarm("migrated")
    assert "1 encrypted anew" in story.pulse("secrets", "rotate")
    story.alarm("rotated")
    product._config.write_text(text.replace(KEY, NEW_KEY))
    product.stop()
    product.start()
    story.alarm("without")
    assert "0 encrypted anew, 1 were already" in story.pulse("secrets", "rotate")
    assert unreadable(story.blob(), KEY)
    story.look()
    assert story.receiver.refused == 0
    story.hides(KEY, NEW_KEY)
