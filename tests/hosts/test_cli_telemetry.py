"""``pulse telemetry export``: to standard output, to a file, and on where a file was left half written."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from support.batches import judged, register
from support.command_line import Pulse, command_line, ok

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database

_READINGS = """
    INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, metrics)
    SELECT t, d, '2026-01-02'::timestamptz + n * interval '1 second', n, now(), 'telemetry', 'site-1',
        jsonb_build_object('n', n, 'text', E'a"\\r\\n')
    FROM (VALUES ('tenant-a', 'a'), ('tenant-a', 'b'), ('tenant-b', 'theirs')) AS x (t, d), generate_series(0, 9) AS n
"""


@pytest.fixture
def pulse(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    register(database, "tenant-a/a", "tenant-a/b", "tenant-b/theirs")
    with database.superuser() as hand:
        hand.execute("SELECT ensure_telemetry_day('2026-01-02')")
        hand.execute(_READINGS)
    return command_line(monkeypatch, tmp_path, database)


def test_a_file_and_what_was_left_of_it(pulse: Pulse, tmp_path: Path, database: Database) -> None:
    file = tmp_path / "out.csv"
    asked = ("telemetry", "export", "tenant-a", "--output", str(file))
    assert "20 readings written" in pulse(*asked).output
    whole = file.read_bytes()
    rows = list(csv.DictReader(io.StringIO(whole.decode(), newline="")))
    assert [(row["device_id"], json.loads(row["metrics"])["n"]) for row in rows] == [
        (device, n) for device in "ab" for n in range(10)
    ]
    assert file.stat().st_mode & 0o777 == 0o600
    for length in (0, 30, len(whole) // 2, len(whole) - 1, len(whole)):
        file.write_bytes(whole[:length])
        ok(pulse(*asked, "--resume"))
        assert file.read_bytes() == whole, length
    assert "other metrics" in pulse(*asked, "--resume", "--metric", "n").output
    assert file.read_bytes() == whole
    looked = judged(database, "SELECT tenant_id FROM audit_log WHERE action = 'operator.export'")
    assert set(looked) == {("tenant-a",)}


def test_some_of_it_on_standard_output(pulse: Pulse) -> None:
    span = ("--from", "2026-01-02T00:00:02Z", "--to", "2026-01-02T00:00:04Z")
    said = pulse("telemetry", "export", "tenant-a", "--device", "b", "--metric", "n", "--format", "jsonl", *span)
    assert [(each["device_id"], each["metrics"]) for each in map(json.loads, said.stdout.splitlines())] == [
        ("b", {"n": 2}),
        ("b", {"n": 3}),
    ]
    assert "no such tenant" in pulse("telemetry", "export", "nowhere").output
    assert "--resume goes with --output" in pulse("telemetry", "export", "tenant-a", "--resume").output
