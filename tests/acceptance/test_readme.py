"""The README's commands, run as a reader would paste them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from support.product import ADMIN_KEY, Product
from support.tree import ROOT


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="needs mosquitto_pub (mosquitto-clients)")
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_what_to_try_next_works_as_it_stands(product: Product) -> None:
    product.admin("tenants", {"tenant_id": "tenant-a"})  # the demo has made it already
    (script,) = re.findall(r"^```sh\n(.*?)^```$", ROOT.joinpath("README.md").read_text(), re.DOTALL | re.MULTILINE)
    ports = {8080: product.web_port, 8081: product.http_port, 1883: product.mqtt_port}
    for port, ours in ports.items():
        assert str(port) in script
        script = script.replace(str(port), str(ours))
    script = script.replace("dev-admin-key", ADMIN_KEY)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "no_proxy": "*"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "HTTP/1.1 202" in ran.stdout
    readings = list(product.pages("devices/tenant-a/my-sensor/telemetry"))
    assert [reading["metrics"] for reading in readings] == [{"celsius": 21.6}, {"celsius": 21.5}]
    assert ran.stdout.count('"celsius"') >= 2, "the reader sees what was stored"
