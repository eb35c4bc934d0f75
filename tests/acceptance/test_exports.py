"""A file of readings that is being written when the power of the web process goes: another makes it whole."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

from support.product import Product
from support.waiting import until_sync

if TYPE_CHECKING:
    from pathlib import Path

_DEVICES, _EACH = 10, 2000
_READINGS = """
    INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, seq, metrics)
    SELECT 'acme', 'd-' || lpad(d::text, 6, '0'), now() - interval '1 hour' + n * interval '1 second', n, now(),
        'telemetry', 's-1', n, jsonb_build_object('n', n)
    FROM generate_series(0, %s) d, generate_series(0, %s) n
"""


def test_killed_in_the_middle_the_file_is_whole_and_no_reading_is_in_it_twice(tmp_path: Path) -> None:
    product = Product(tmp_path, config="[exports]\npage_readings = 50\nlease_s = 1\nworkers = 1\n")
    product.start()
    try:
        product.add_devices("acme", _DEVICES)
        with product.superuser() as hand:
            hand.execute(
                "SELECT ensure_telemetry_day((now() - interval '1 hour')::date), ensure_telemetry_day(now()::date)"
            )
            hand.execute(_READINGS, (_DEVICES - 1, _EACH - 1))
        token = product.pulse(
            "tokens", "add", "--tenant", "acme", "--role", "customer_admin", "--name", "t"
        ).stdout.strip()

        def call(path: str, body: Any = None) -> bytes:
            url = f"http://127.0.0.1:{product.web_port}/customer/telemetry/exports{path}"
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            data = None if body is None else json.dumps(body).encode()
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
                return bytes(answer.read())

        export_id = json.loads(call("", {"format": "jsonl"}))["export_id"]

        def row() -> tuple[Any, ...]:
            with product.superuser() as hand:
                found = hand.execute("SELECT status, readings FROM telemetry_exports").fetchone()
            assert found is not None
            return found

        until_sync(lambda: row()[1] > 500, within_s=20, what="the export is under way")
        product.kill("web")
        killed = row()
        assert killed[0] == "RUNNING", killed
        assert 500 < killed[1] < _DEVICES * _EACH
        until_sync(lambda: row()[0] == "DONE", within_s=60, what="the export is done")
        until_sync(lambda: _there(lambda: call(f"/{export_id}")), within_s=30, what="the web process is back")
        said = [json.loads(line) for line in call(f"/{export_id}/file").splitlines()]
        assert [(each["device_id"], each["seq"]) for each in said] == [
            (f"d-{device:06}", seq) for device in range(_DEVICES) for seq in range(_EACH)
        ]
        assert row()[1] == len(said)
    finally:
        product.stop()


def _there(call: Any) -> bool:
    try:
        return bool(call())
    except OSError:
        return False
