"""What a load run is asked to do, and what it found."""

from __future__ import annotations

import time
from array import array
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from support.ledger import LedgerWriter


@dataclass(frozen=True)
class LoadSpec:
    """One run. ``devices`` holds (tenant_id, device_id, site_id, token); a ledger names them by their number here.

    ``rate`` is messages a second, open loop; None keeps ``window`` messages (requests for HTTP: one) in flight on each
    connection. ``seconds`` counts after ``warmup_s``; a SIGTERM ends it earlier. ``drain_s`` is how long to wait for
    what is still unanswered then. ``qos``, ``version`` (4: MQTT 3.1.1) and ``tls_ca`` (a PEM file; the certificate is
    for ``localhost``) are for MQTT; at QoS 0 a message counts as acknowledged when the peer has read it.
    """

    way: Literal["mqtt", "http", "http_batch"]
    port: int
    devices: list[tuple[str, str, str, str]]
    connections: int = 200
    window: int = 64
    rate: float | None = None
    seconds: float = 20.0
    warmup_s: float = 2.0
    drain_s: float = 30.0
    batch: int = 100
    first_seq: int = 1_000_000
    ledger: str | None = None
    host: str = "127.0.0.1"
    qos: int = 1
    version: int = 4
    tls_ca: str | None = None


@dataclass
class LoadResult:
    """What came of it. ``rate`` is acknowledged messages a second after the warm-up, while still sending."""

    acknowledged: int = 0
    sent: int = 0
    unanswered: int = 0
    rate: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    per_second: list[int] = field(default_factory=list)
    reconnects: int = 0
    refused: int = 0
    tried_again: int = 0
    out_of_order: int = 0
    cpu_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """All of it, by name."""
        return asdict(self)


class Load:
    """The counters that all connections of a run share."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.result = LoadResult()
        self.ledger = LedgerWriter(Path(spec.ledger)) if spec.ledger else None
        self.begun = False
        """Every connection was up once: those that log in do not have to fight those that send."""
        self.sending = True
        self.timed = spec.rate is not None
        self._latencies = array("d")

    def acknowledged(self, device: int, first_seq: int, count: int) -> None:
        """Count acknowledgements, and account for them."""
        self.result.acknowledged += count
        if self.ledger is not None:
            self.ledger.acknowledged(device, first_seq, first_seq + count - 1)

    def took_all(self, now_s: float, since_s: list[float]) -> None:
        """Note how long each answer took, from its time in ``since_s`` (monotonic) until now."""
        self._latencies.extend([now_s - since for since in since_s])

    def finish(self, at_start: int, at_end: int, seconds: float) -> LoadResult:
        """Sum up: acknowledgements counted when the warm-up ended and when sending did, and the time between."""
        result = self.result
        result.unanswered = result.sent - result.acknowledged - result.refused
        result.rate = (at_end - at_start) / seconds if seconds else 0.0
        ordered = sorted(self._latencies)
        if ordered:
            result.p50_ms, result.p99_ms = (1e3 * ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
            result.max_ms = 1e3 * ordered[-1]
        result.cpu_s = time.process_time()
        if self.ledger is not None:
            self.ledger.close()
        return result

    def forget_latencies(self) -> None:
        """The warm-up is over: what it took does not count."""
        self._latencies = array("d")
