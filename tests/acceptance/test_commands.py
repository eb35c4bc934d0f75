"""A customer queues a command on port 8080, and a device fetches it on 8081, whatever dies in between."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from support import mqtt311
from support import websocket as ws
from support.product import Product
from support.waiting import until, until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.product import Device

WITHIN_S = 5


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(tmp_path_factory.mktemp("commands") / "product")
    running.start()
    running.raise_limits()  # these tests ask until something is so
    yield running
    running.stop()


class Both:
    """A tenant's program and one of its devices."""

    def __init__(self, product: Product, tenant: str) -> None:
        self.product = product
        (self.device,) = product.add_devices(tenant, 1)
        said = product.pulse("tokens", "add", "--name", "a test", "--role", "customer_admin", "--tenant", tenant)
        found = re.search(r"pulse_[\w-]{43}", said.stdout)
        assert found, said.stderr
        self._token = found[0]
        until_sync(lambda: self.fetch()[0] == 200, what="the device to be known")

    def customer(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        return called(self.product.web_port, f"/customer{path}", method, headers, body)

    def queue(self, name: str, **fields: Any) -> str:
        status, made = self.customer("POST", f"/devices/{self.device[1]}/commands", {"name": name, **fields})
        assert status == 201, made
        return str(made["command_id"])

    def status(self, command_id: str) -> str:
        return str(self.customer("GET", f"/commands/{command_id}")[1]["status"])

    def fetch(self, query: str = "") -> tuple[int, Any]:
        return called(self.product.http_port, f"{path_of(self.device)}{query}", "GET", self.signed)

    def acknowledge(self, command_id: str) -> int:
        path = f"{path_of(self.device)}/{command_id}/ack"
        return called(self.product.http_port, path, "POST", self.signed)[0]

    @property
    def signed(self) -> dict[str, str]:
        return {"X-Provision-Token": self.device[3]}


def path_of(device: Device) -> str:
    return f"/ingest/v1/tenant/{device[0]}/device/{device[1]}/commands"


def called(port: int, path: str, method: str, headers: dict[str, str], body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, None


def ids(answer: tuple[int, Any]) -> list[str]:
    assert answer[0] == 200, answer
    return [each["command_id"] for each in answer[1]["commands"]]


def test_queued_fetched_and_acknowledged_within_seconds(product: Product) -> None:
    both = Both(product, "tenant-a")
    began = time.monotonic()
    command_id = both.queue("set:rate", payload={"hz": 5}, expires_in_s=600)
    assert ids(both.fetch("?wait_s=30")) == [command_id]
    assert time.monotonic() - began < WITHIN_S
    [given] = both.fetch()[1]["commands"]
    assert (given["name"], given["payload"]) == ("set:rate", {"hz": 5})
    assert both.status(command_id) == "SENT"
    assert both.acknowledge(command_id) == 200
    assert both.status(command_id) == "ACKNOWLEDGED"
    assert ids(both.fetch()) == []
    shown = both.customer("GET", f"/commands/{command_id}")[1]
    assert (shown["way"], shown["created_by"]) == ("http", "token:a test")
    assert shown["created_at"] < shown["sent_at"] < shown["acknowledged_at"]


async def test_over_websocket_on_the_same_port(product: Product) -> None:
    both = Both(product, "tenant-w")
    tenant_id, device_id, site_id, token = both.device
    own = f"tenant/{tenant_id}/device/{device_id}"
    async with ws.logged_in(product.http_port, f"{tenant_id}/{device_id}", token) as device:
        device.say(mqtt311.subscribe(1, (f"{own}/cmd/#", 1)))
        assert await device.packet() == b"\x90\x03\x00\x01\x01"
        command_id = await asyncio.to_thread(both.queue, "set:rate", payload={"hz": 5})
        sent = await device.packet()
        assert sent[0] == 0x32
        assert f"{own}/cmd/set:rate".encode() in sent
        assert sent.endswith(b'{"hz":5}')
        number = sent[sent.index(b"{") - 2 : sent.index(b"{")]
        device.say(b"\x40\x02" + number + mqtt311.publish(f"{own}/telemetry", b'{"site_id":"%b"}' % site_id.encode()))
        assert await device.packet() == mqtt311.puback(1)
        await until(lambda: both.status(command_id) == "ACKNOWLEDGED", every_s=0.2)


def test_what_is_too_late_is_over(product: Product) -> None:
    both = Both(product, "tenant-b")
    command_id = both.queue("reboot", expires_in_s=1)
    assert ids(both.fetch("?wait_s=1")) == [command_id]
    until_sync(lambda: both.status(command_id) == "EXPIRED", what="its time to be over")
    assert ids(both.fetch()) == []
    assert both.acknowledge(command_id) == 404


def test_killed_between_the_fetch_and_its_answer_it_is_given_again(product: Product) -> None:
    both = Both(product, "tenant-c")
    command_id = both.queue("reboot")
    with socket.create_connection(("127.0.0.1", product.http_port)) as device, product.superuser() as hand:
        pipeline = product.process("pipeline")
        with hand.transaction():
            hand.execute("SELECT FROM device_commands WHERE command_id = %s FOR UPDATE", (command_id,))
            head = f"GET {path_of(both.device)} HTTP/1.1\r\nHost: x\r\nX-Provision-Token: {both.device[3]}\r\n\r\n"
            device.sendall(head.encode())
            waits = "SELECT FROM pg_locks WHERE NOT granted"
            until_sync(lambda: hand.execute(waits).rowcount, what="the fetch to reach the row")
            pipeline.send_signal(signal.SIGSTOP)
        sent = "SELECT FROM device_commands WHERE command_id = %s AND status = 'SENT'"
        until_sync(lambda: hand.execute(sent, (command_id,)).rowcount, what="the commit")
        pipeline.kill()
        device.settimeout(30)
        with suppress(ConnectionError):
            assert device.recv(1) == b"", "nobody was answered"
    until_sync(lambda: product.process("pipeline").pid != pipeline.pid and product.ready(), what="a new pipeline")
    until_sync(lambda: both.fetch()[0] == 200, what="the device to be let in")
    assert ids(both.fetch()) == [command_id]
    assert both.acknowledge(command_id) == 200
    product.kill("postgres")
    until_sync(lambda: both.fetch()[0] == 200, within_s=60, what="the database to be back")
    assert ids(both.fetch()) == []
    until_sync(lambda: both.customer("GET", "/commands")[0] == 200, within_s=60, what="the web process to be back")
    assert both.status(command_id) == "ACKNOWLEDGED"


def test_without_a_database_devices_are_told_to_come_again(product: Product) -> None:
    both = Both(product, "tenant-d")
    command_id = both.queue("reboot")
    postmaster = product.process("postgres")
    stopped = [postmaster, *postmaster.children()]
    for process in stopped:
        process.suspend()
    try:
        began = time.monotonic()
        assert both.fetch()[0] == 503
        assert both.acknowledge(command_id) == 503
        assert time.monotonic() - began < 30
    finally:
        for process in stopped:
            process.resume()
    until_sync(lambda: both.fetch()[0] == 200, within_s=60, what="the database to be back")
    assert ids(both.fetch()) == [command_id]
