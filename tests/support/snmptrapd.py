"""net-snmp's snmptrapd on a port of its own, and what it makes of notifications."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_MARK = "== one notification =="


def command(name: str) -> str:
    """The path of one of net-snmp's commands; the test skips where it is not installed."""
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} (net-snmp) is not installed")
    return found


class SnmpTrapd:
    """A running snmptrapd; everything it says is in ``log``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, port: int) -> None:
        self.process = process
        self.log = log
        self.port = port

    def notifications(self) -> list[dict[str, str]]:
        """What has arrived: values by OID, without the leading dot. Texts are hexadecimal: ``Hex-STRING: 70 75``."""
        arrived = []
        for text in self.log.read_text(errors="replace").split(_MARK)[1:]:
            whole = text.split("== end ==")
            if len(whole) > 1:
                pairs = (pair.split(" = ", 1) for pair in whole[0].replace("\n", "").split("\t"))
                arrived.append({oid.strip().removeprefix("."): value.strip() for oid, value in pairs})
        return arrived


def text_of(value: str) -> str:
    """Decode what snmptrapd shows for an OCTET STRING."""
    return bytes.fromhex(value.removeprefix("Hex-STRING:")).decode()


@contextmanager
def snmptrapd(
    folder: Path, *lines: str, host: str = "127.0.0.1", port: int = 0, mibs: Path | None = None
) -> Iterator[SnmpTrapd]:
    """Run snmptrapd with these lines of configuration, in a folder of its own."""
    program = command("snmptrapd")
    folder.mkdir(exist_ok=True)
    config, log = folder / "trapd.conf", folder / "log"
    config.write_text("\n".join(("disableAuthorization yes", f"format2 {_MARK}%v== end ==\\n", *lines, "")))
    port = port or _free_port(host)
    at = f"udp6:[{host}]:{port}" if ":" in host else f"udp:{host}:{port}"
    shown = ["-Onxe", "-m", ""] if mibs is None else ["-M", str(mibs.parent), "-m", mibs.stem]
    environment = {"PATH": PATH, "SNMPCONFPATH": str(folder), "SNMP_PERSISTENT_DIR": str(folder)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "-f", "-C", "-c", str(config), "-Lo", "-n", *shown, at],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        until_sync(lambda: process.poll() is not None or b"NET-SNMP version" in log.read_bytes(), what="snmptrapd")
        assert process.poll() is None, log.read_text()
        yield SnmpTrapd(process, log, port)
    finally:
        process.terminate()
        process.wait(30)


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])
