"""A real broker that keeps its sessions on disk, and can be killed and started again at the same port."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from support.mosquitto import free_port, listens, program
from support.waiting import until_sync

if TYPE_CHECKING:
    from pathlib import Path


class DurableMosquitto:
    """Lets anybody in and queues whatever comes; what it keeps is on disk within a second, and after :meth:`stop`."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._program = program()
        self._log = folder / "log"
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            f"listener {self.port} 127.0.0.1\nuser root\nallow_anonymous true\nset_tcp_nodelay true\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n"
            f"max_queued_messages 0\nmax_inflight_messages 1000\n{settings}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            process = subprocess.Popen([self._program, "-c", str(self._configuration)], stdout=output, stderr=output)
        self._process = process
        until_sync(lambda: listens(self.port) or process.poll() is not None, what="mosquitto")
        assert process.poll() is None, self._log.read_text()

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)
