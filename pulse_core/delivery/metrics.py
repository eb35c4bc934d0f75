"""What the engine counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

DELIVERIES = Counter("pulse_deliveries", "Deliveries, by what became of them; RETRYING counts every time", ["status"])
ATTEMPTS = Counter("pulse_delivery_attempts", "Attempts, by channel plugin and outcome", ["plugin", "outcome"])
CONTAINED = Counter(
    "pulse_delivery_contained",
    "Attempts in which a plugin broke the rules: raised what it may not, hung, or returned nonsense",
    ["plugin"],
)
ATTEMPT_SECONDS = Histogram(
    "pulse_delivery_attempt_seconds",
    "How long attempts took",
    ["plugin"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
IN_FLIGHT = Gauge("pulse_deliveries_in_flight", "Attempts that are running")
HANGING = Gauge("pulse_delivery_hanging", "Attempts that were given up but ignore their cancellation", ["plugin"])
BREAKERS_OPEN = Gauge(
    "pulse_delivery_breakers_open", "Endpoints (of one tenant each) that are left alone but for probes"
)
HANDED_OVER = Counter("pulse_deliveries_handed_over", "Deliveries handed to their fallback because a breaker is open")
