"""One scripted run under load, with or without kills, and what it left: the crash proof's experiment.

Two fleets, each its own tenant. *Load* devices send as much as is asked, and their acknowledgements are in a ledger.
*Watched* devices report twice a second; half of them fall silent in the middle of it all, until their alerts are open,
and then come back. A run with kills must end with the same alerts as a run without, and with books that balance. Nobody
answers where the alerts go, so that what was decided is all that there is to deliver.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from support.generator import Generator
from support.ledger import Verdict, judge, read_ledger
from support.load_stats import LoadSpec
from support.product import free_ports
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from support.product import Device, Product

THRESHOLD_S = 4.0
ALERTS_WITHIN_S = 60.0
_ROOM_FOR_SILENCE_S = 0.5
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

Way = tuple[int, int]
"""A QoS and a version of MQTT (4: 3.1.1)."""
WAYS: tuple[Way, ...] = ((1, 4), (2, 5))

AlertsSeen = Counter[tuple[str, str, str]]
"""How many alerts of each (device_id, alert_type, status)."""


@dataclass(frozen=True)
class Outcome:
    """What a run left behind. ``books``: what ``pulse ledger`` said at the end."""

    verdicts: dict[Way, Verdict]
    alerts: AlertsSeen
    acknowledged_per_s: float
    kills: tuple[str, ...]
    books: dict[str, Any]

    @property
    def verdict(self) -> Verdict:
        """All ways together; devices are numbered within their way."""
        each = self.verdicts.values()
        return Verdict(
            sum(one.acknowledged for one in each),
            sum(one.shown for one in each),
            tuple(lost for one in each for lost in one.lost),
            tuple(doubled for one in each for doubled in one.doubled),
        )

    def counted(self, line: str) -> dict[str, int]:
        """Both sides of a line of the ledger."""
        (found,) = (each for each in self.books["lines"] if each["name"] == line)
        return {**found["left"], **found["right"]}


class Fleet:
    """Devices and the generator that speaks for them."""

    def __init__(
        self,
        product: Product,
        folder: Path,
        name: str,
        devices: list[Device],
        rate: float,
        *,
        qos: int = 1,
        version: int = 4,
    ) -> None:
        self.devices = devices
        self.ledger = folder / f"{name}.ledger"
        spec = LoadSpec(
            way="mqtt",
            port=product.mqtt_port,
            devices=devices,
            connections=len(devices),
            rate=rate,
            seconds=600.0,
            warmup_s=0.1,
            drain_s=60.0,
            ledger=str(self.ledger),
            qos=qos,
            version=version,
        )
        self._generator = Generator(folder, name, asdict(spec))
        self._generator.connected()

    def heard(self) -> None:
        """Wait until every device has been acknowledged something from now on."""
        before = self._acknowledged()

        def all_heard() -> bool:
            now = self._acknowledged()
            return all(len(now.get(n, ())) > len(before.get(n, ())) for n in range(len(self.devices)))

        until_sync(all_heard, within_s=60, what="every device")

    def _acknowledged(self) -> dict[int, set[int]]:
        return read_ledger(self.ledger) if self.ledger.exists() else {}

    def judged(self, product: Product) -> Verdict:
        """What was acknowledged beside what the platform shows."""
        return judge(read_ledger(self.ledger), product.shown_seqs(self.devices))

    def stop(self) -> dict[str, Any]:
        """Send no more, wait for what is unanswered, and return the generator's result."""
        self._generator.stop()
        return self._generator.result()

    def kill(self) -> None:
        """End the generator, wherever it is."""
        self._generator.kill()


def experiment(
    product: Product,
    folder: Path,
    *,
    kills: Sequence[str],
    load_devices: int = 20,
    watched: int = 8,
    rate: float = 1500.0,
    between_s: tuple[float, float] = (0.8, 1.8),
    seed: int | None = None,
    ways: Sequence[Way] = WAYS,
) -> Outcome:
    """Run the script on a running product that has no devices yet; ``kills`` names processes, in order.

    The load devices are split among ``ways``.
    """
    chance = random.Random(seed)
    product.raise_limits()
    each = load_devices // len(ways)
    load = {
        way: product.add_devices("load", each, prefix="load-qos{}-version{}".format(*way), stale_after_s=3600)
        for way in ways
    }
    silent = product.add_devices("watched", watched // 2, prefix="silent", stale_after_s=THRESHOLD_S)
    steady = product.add_devices("watched", watched - watched // 2, prefix="steady")
    tell_nobody_of(product, "watched")
    loads = [
        Fleet(product, folder, "load-{}-{}".format(*way), devices, rate / len(ways), qos=way[0], version=way[1])
        for way, devices in load.items()
    ]
    fleets = {
        name: Fleet(product, folder, name, devices, 2.0 * len(devices))
        for name, devices in (("silent", silent), ("steady", steady))
    }
    try:
        silence = _kill_in_turn(product, kills, chance, between_s, fleets["silent"].stop)
        results = [fleet.stop() for fleet in loads]
        assert not any(result["unanswered"] + result["out_of_order"] for result in results), results
        silence()
        _wait_for_alerts(product, "OPEN", len(silent))
        back = Fleet(product, folder, "back", silent, 2.0 * len(silent))
        fleets["back"] = back
        _wait_for_alerts(product, "CLOSED", len(silent))
        alerts = alerts_of(product, "watched")
        rates = [result["acknowledged"] / max(1, len(result["per_second"])) for result in results]
        verdicts = {way: fleet.judged(product) for way, fleet in zip(ways, loads, strict=True)}
        return Outcome(verdicts, alerts, sum(rates), tuple(kills), product.ledger())
    finally:
        for fleet in (*loads, *fleets.values()):
            fleet.kill()


def tell_nobody_of(product: Product, tenant: str) -> None:
    """Two routes to where nobody listens: one matches every step of an alert, the other none."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}/"
    wanted = {"tenant_id": tenant, "type": "webhook", "name": "nobody", "config": {"url": url, "secret": _SECRET}}
    route = {"tenant_id": tenant, "integration_id": product.admin("integrations", wanted)["integration_id"]}
    product.admin("integration-routes", {**route, "deliver_on": ["OPEN", "CLOSED"]})
    product.admin("integration-routes", {**route, "alert_types": ["OTHER"]})


def _kill_in_turn(
    product: Product,
    kills: Sequence[str],
    chance: random.Random,
    between_s: tuple[float, float],
    fall_silent: Callable[[], Any],
) -> Callable[[], None]:
    """Kill at random moments; let the silence begin half-way. Returns a wait for the silent fleet's last answers."""
    falling = threading.Thread(target=fall_silent, daemon=True)
    for number, name in enumerate(kills or ("",) * 3):
        time.sleep(chance.uniform(*between_s))
        if number == len(kills or "...") // 2:
            falling.start()
            time.sleep(_ROOM_FOR_SILENCE_S)
        if name:
            product.kill(name)
            until_sync(product.ready, within_s=60, what=f"the pipeline, after {name} was killed,")
    time.sleep(chance.uniform(*between_s))
    return falling.join


def alerts_of(product: Product, tenant: str) -> AlertsSeen:
    """Every alert of a tenant, as the API shows it."""
    return Counter(
        (item["device_id"], item["alert_type"], item["status"]) for item in product.pages("alerts", tenant_id=tenant)
    )


def _wait_for_alerts(product: Product, status: str, count: int) -> None:
    def enough() -> bool:
        return sum(times for (_, _, one), times in alerts_of(product, "watched").items() if one == status) >= count

    until_sync(enough, within_s=ALERTS_WITHIN_S, every_s=0.2, what=f"{count} alerts {status}")
