"""A real broker (Eclipse Mosquitto) on loopback, with passwords, rights and TLS as a test wants them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "pulse", "s3cr3t-of-the-broker"
READER = "reader"
RIGHTS = f"user {USER}\ntopic write alerts/#\nuser {READER}\ntopic read #\n"


class Mosquitto:
    """A running broker, and what its topics brought so far."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.port = port
        self.messages: list[paho.MQTTMessage] = []
        self._process = process
        self._log = log
        self._reader: paho.Client | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def listen(self) -> None:
        """Collect every message from now on."""
        reader = paho.Client(CallbackAPIVersion.VERSION2)
        reader.username_pw_set(READER, PASSWORD)
        subscribed: list[int] = []
        reader.on_connect = lambda client, *_: client.subscribe("#", qos=2)
        reader.on_subscribe = lambda *_: subscribed.append(1)
        reader.on_message = lambda _client, _userdata, message: self.messages.append(message)
        reader.connect("127.0.0.1", self.port)
        reader.loop_start()
        self._reader = reader
        until_sync(lambda: subscribed, what="the subscription")

    def stop(self) -> None:
        if self._reader is not None:
            self._reader.disconnect()
            self._reader.loop_stop()
            self._reader = None
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)


@contextmanager
def mosquitto(
    folder: Path, *, port: int = 0, certificate: Path | None = None, settings: str = ""
) -> Iterator[Mosquitto]:
    """Run a broker. With ``certificate`` (a file that holds the key too) it speaks TLS; skip if there is none."""
    broker_program = program()
    passwords, rights, log = folder / "passwords", folder / "rights", folder / "log"
    passwords.touch(mode=0o600)
    for user in (USER, READER):
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, PASSWORD], check=True, capture_output=True)
    rights.write_text(RIGHTS)
    port = port or free_port()
    tls = f"certfile {certificate}\nkeyfile {certificate}\n" if certificate else ""
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nuser root\nallow_anonymous false\npassword_file {passwords}\nacl_file {rights}\n"
        f"set_tcp_nodelay true\n{tls}{settings}\n"
    )
    with log.open("wb") as output:
        process = subprocess.Popen([broker_program, "-c", str(configuration)], stdout=output, stderr=output)
    broker = Mosquitto(process, port, log)
    try:
        until_sync(lambda: listens(port) or process.poll() is not None, what="mosquitto")
        assert process.poll() is None, broker.log
        yield broker
    finally:
        broker.stop()


def program() -> str:
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto is not installed (Debian: apt-get install mosquitto)")
    return program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def open_broker(folder: Path, listeners: int = 1, settings: str = "") -> Iterator[list[int]]:
    """Run a broker that lets anybody in, on so many ports, with room for whatever comes. Skip if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = [free_port() for _ in range(listeners)]
    configuration, log = folder / "mosquitto.conf", folder / "log"
    doors = "".join(f"listener {port} 127.0.0.1\n" for port in ports)
    configuration.write_text(f"{doors}user root\nallow_anonymous true\nset_tcp_nodelay true\n{settings}\n")
    with log.open("wb") as output:
        process = subprocess.Popen([program(), "-c", str(configuration)], stdout=output, stderr=output)
    try:
        until_sync(lambda: process.poll() is not None or all(map(listens, ports)), what="mosquitto")
        assert process.poll() is None, log.read_text()
        yield ports
    finally:
        process.terminate()
        process.wait(20)
