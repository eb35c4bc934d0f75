"""The fleet: what the file may say, what devices measure, how they behave, and the program as a whole."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pulse_simulator import device, packets
from pulse_simulator.device import SimulatedDevice
from pulse_simulator.fleet import FleetError, Member, read_fleet
from pulse_simulator.mischief import FAULTS
from pulse_simulator.sensor import Sensor, encode
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 30.0
ENTRY: dict[str, Any] = {"tenant_id": "a", "device_id": "d", "site_id": "s", "token": "t"}


def fleet_file(folder: Path, content: Any) -> Path:
    path = folder / "fleet.json"
    path.write_text(json.dumps(content))
    return path


def test_reads_a_fleet(tmp_path: Path) -> None:
    path = fleet_file(tmp_path, [ENTRY, {**ENTRY, "way": "http", "behaviour": "chatty", "interval_s": 1}])
    assert read_fleet(path) == [
        Member("a", "d", "s", "t"),
        Member("a", "d", "s", "t", "http", "chatty", 1),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({}, "a list"),
        ([{**ENTRY, "way": "smoke signals"}], "device 0: way"),
        ([ENTRY, {**ENTRY, "behaviour": "rude"}], "device 1: behaviour"),
        ([{**ENTRY, "interval_s": 0}], "interval_s"),
        ([{**ENTRY, "colour": "red"}], "colour"),
        ([{**ENTRY, "token": None}], "token must be text"),
        ([7], "device 0"),
    ],
)
def test_says_what_is_wrong_with_a_fleet(tmp_path: Path, content: Any, why: str) -> None:
    with pytest.raises(FleetError, match=why):
        read_fleet(fleet_file(tmp_path, content))


def test_measures_believably() -> None:
    sensor = Sensor(Member(**ENTRY))
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    bodies = [sensor.read(start + dt.timedelta(seconds=5 * n)) for n in range(10_000)]
    assert [body["seq"] for body in bodies] == list(range(1, 10_001))
    assert all(5 < body["metrics"]["temp_c"] < 40 for body in bodies)
    assert all(0 <= body["metrics"]["humidity_pct"] <= 100 for body in bodies)
    steps = [abs(b["metrics"]["temp_c"] - a["metrics"]["temp_c"]) for a, b in itertools.pairwise(bodies)]
    assert max(steps) < 1
    assert dt.datetime.fromisoformat(bodies[0]["ts"]) == start


def test_every_fault_is_one() -> None:
    body = Sensor(Member(**ENTRY)).read(dt.datetime.now(dt.UTC))
    spoiled = [spoil(body) for spoil in FAULTS]
    assert encode(body) not in spoiled
    assert len(set(spoiled)) == len(FAULTS)


class Recorder:
    """A link that notes what it is asked to do."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.knocks: list[str] = []
        self.absences = 0
        self.reachable = True

    async def send(self, msg_type: str, payload: bytes) -> bool:
        assert msg_type in {"heartbeat", "telemetry"}
        self.sent.append(payload)
        return True

    async def knock(self, token: str) -> None:
        self.knocks.append(token)

    async def leave(self) -> None:
        self.absences += 1
        self.reachable = False

    def come_back(self) -> None:
        self.reachable = True


async def live_until(member: Member, link: Recorder, condition: Any) -> None:
    running = asyncio.create_task(SimulatedDevice(member, link).run())
    try:
        await until(condition, within_s=DEADLINE_S)
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_silent_device_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_SILENCE_S", "SILENCE_S", "BETWEEN_SILENCES_S"):
        monkeypatch.setattr(device, name, (0.05, 0.1))
    link = Recorder()
    member = Member(**ENTRY, behaviour="goes_silent", interval_s=0.02)
    await live_until(member, link, lambda: link.absences >= 2 and link.reachable and len(link.sent) > 5)


async def test_a_misbehaving_device_sends_every_fault_and_good_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Recorder()
    member = Member(**ENTRY, behaviour="misbehaves", interval_s=0.01)
    await live_until(member, link, lambda: len(link.knocks) >= 3)

    def is_good(payload: bytes) -> bool:
        try:
            return set(json.loads(payload)) == {"ts", "site_id", "seq", "metrics"}
        except ValueError:
            return False

    assert any(is_good(payload) for payload in link.sent)
    assert sum(not is_good(payload) for payload in link.sent) >= 3


async def test_the_program_speaks_both_protocols_and_ends_on_sigterm(tmp_path: Path) -> None:
    topics: set[str] = set()
    paths: set[str] = set()

    async def take(request: web.BaseRequest) -> web.Response:
        await request.read()
        paths.add(request.path)
        return web.Response(status=202)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packets.read_packet(reader)
        writer.write(b"\x20\x02\x00\x00")
        try:
            assert (await packets.read_packet(reader))[0] == packets.SUBSCRIBE
            while True:
                topic, packet_id, _ = packets.received(*await packets.read_packet(reader))
                topics.add(topic)
                writer.write(packets.puback(packet_id))
        except (OSError, EOFError):
            writer.close()

    mqtt = await asyncio.start_server(serve, "127.0.0.1", 0)
    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fleet = fleet_file(
        tmp_path,
        [
            {**ENTRY, "device_id": "m", "interval_s": 0.1},
            {**ENTRY, "device_id": "h", "way": "http", "interval_s": 0.1},
        ],
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pulse_simulator", "devices", "--fleet", str(fleet)),
        *("--mqtt", f"127.0.0.1:{mqtt.sockets[0].getsockname()[1]}"),
        *("--http", f"http://127.0.0.1:{runner.addresses[0][1]}"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: topics and len(paths) > 1, within_s=DEADLINE_S)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
        mqtt.close()
        await mqtt.wait_closed()
        await runner.cleanup()
    assert topics <= {"tenant/a/device/m/telemetry", "tenant/a/device/m/heartbeat"}
    assert paths <= {f"/ingest/v1/tenant/a/device/h/{word}" for word in ("telemetry", "heartbeat", "commands")}
