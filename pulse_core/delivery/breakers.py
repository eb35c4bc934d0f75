"""Breakers: an endpoint that fails again and again is left alone, but for a probe now and then.

There is one for each tenant and endpoint. Endpoints are shared (many tenants call one chat service), and a tenant
whose own address there fails must not keep the others' alerts from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_core.outbox import AttemptOutcome, OpenBreaker

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from pulse_core.outbox import BreakerChanges

_US = 1_000_000


class BreakerRule(Struct, frozen=True):
    """After ``failures`` in a row it opens. A probe follows after ``probe_s``, twice as long after each that fails."""

    failures: int = 5
    probe_s: float = 30.0
    longest_s: float = 300.0


class Breaker:
    """Closed: everything goes. Open: nothing. Half-open, when the probe is due: one at a time."""

    def __init__(self, rule: BreakerRule, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.integrations: set[uuid.UUID] = set()
        self.under_way = 0
        """Deliveries that are claimed and not yet over."""
        self.failures = 0
        self.opened_us: int | None = None
        self.probe_us = 0
        self._wait_s = rule.probe_s
        self._rule = rule
        self._last_error = ""

    @property
    def is_open(self) -> bool:
        """Whether deliveries have to wait (half-open counts: all but the probe do)."""
        return self.opened_us is not None

    def room(self, now_us: int) -> int:
        """How many may be claimed while it is open: the probe, or none."""
        return int(self.under_way == 0 and now_us >= self.probe_us)

    def answered(self) -> bool:
        """Somebody is there. Return whether that closed it."""
        was_open, self.opened_us = self.is_open, None
        self.failures, self._wait_s = 0, self._rule.probe_s
        return was_open

    def failed(self, now_us: int, detail: str) -> bool:
        """Count a failure in a row. Return whether that opened it, or put the next probe off."""
        self.failures += 1
        self._last_error = detail
        if self.opened_us is None:
            if self.failures < self._rule.failures:
                return False
            self.opened_us = now_us
        elif now_us < self.probe_us:
            return False  # it was under way when the breaker opened
        else:
            self._wait_s = min(2 * self._wait_s, self._rule.longest_s)
        self.probe_us = now_us + round(self._wait_s * _US)
        return True

    def restore(self, row: OpenBreaker) -> None:
        """Be as open as another process, or we before a restart, left it."""
        self.opened_us, self.probe_us = row.opened_us, row.probe_us
        self.failures, self._last_error = row.failures, row.last_error

    def row(self, integration_id: uuid.UUID) -> OpenBreaker | None:
        """How it stands, for one integration; None when it is closed."""
        if self.opened_us is None:
            return None
        return OpenBreaker(
            self.tenant_id, integration_id, self.opened_us, self.probe_us, self.failures, self._last_error
        )


class Breakers:
    """The breakers of one engine, by tenant and endpoint."""

    def __init__(self, rule: BreakerRule) -> None:
        self.changes: BreakerChanges = {}
        """What is not stored yet."""
        self._rule = rule
        self._breakers: dict[tuple[str, str], Breaker] = {}
        self._of: dict[uuid.UUID, Breaker] = {}
        self._restored: dict[uuid.UUID, OpenBreaker] = {}

    def restore(self, rows: Iterable[OpenBreaker]) -> None:
        """Take over what is stored. Which endpoint an integration uses is known when it is first called again."""
        self._restored = {row.integration_id: row for row in rows}

    def of(self, tenant_id: str, endpoint: str, integration_id: uuid.UUID) -> Breaker:
        """Return the breaker of an endpoint, and remember that the integration is behind it."""
        breaker = self._breakers.get((tenant_id, endpoint))
        if breaker is None:
            breaker = self._breakers[tenant_id, endpoint] = Breaker(self._rule, tenant_id)
        if self._of.get(integration_id) is not breaker:
            restored = self._restored.get(integration_id)
            self.forget(tenant_id, integration_id)
            self._of[integration_id] = breaker
            breaker.integrations.add(integration_id)
            if restored is not None and not breaker.is_open:
                breaker.restore(restored)
            if breaker.is_open:
                self.changes[tenant_id, integration_id] = breaker.row(integration_id)
        return breaker

    def forget(self, tenant_id: str, integration_id: uuid.UUID) -> None:
        """Know nothing of an integration any more: it was edited, so it may well work now."""
        former = self._of.pop(integration_id, None)
        if former is not None:
            former.integrations.discard(integration_id)
        if self._restored.pop(integration_id, None) is not None or (former is not None and former.is_open):
            self.changes[tenant_id, integration_id] = None

    def ended(self, breaker: Breaker, outcome: AttemptOutcome, now_us: int, detail: str) -> bool:
        """Learn from an attempt; return whether the breaker is open now. A refusal is an answer, too."""
        changed = breaker.failed(now_us, detail) if outcome is AttemptOutcome.TEMPORARY else breaker.answered()
        if changed:
            self.changes |= {(breaker.tenant_id, each): breaker.row(each) for each in breaker.integrations}
        return breaker.is_open

    def take_changes(self) -> BreakerChanges:
        """Hand over what is to be stored."""
        changes, self.changes = self.changes, {}
        return changes

    def rooms(self, now_us: int) -> dict[uuid.UUID, tuple[str, int]]:
        """By integration: a name for what is behind one open breaker, and how many may be claimed for it."""
        found = {key: (f"probe|{key}", int(now_us >= row.probe_us)) for key, row in self._restored.items()}
        for (tenant_id, endpoint), breaker in list(self._breakers.items()):
            if breaker.is_open:
                place = f"probe|{tenant_id}|{endpoint}", breaker.room(now_us)
                found |= dict.fromkeys(breaker.integrations, place)
            elif not breaker.failures and not breaker.under_way:
                del self._breakers[tenant_id, endpoint]
                for each in breaker.integrations:
                    del self._of[each]
        return found

    def next_probe_us(self, now_us: int) -> int | None:
        """When the next probe is due, after now."""
        moments = [breaker.probe_us for breaker in self._breakers.values() if breaker.is_open]
        moments += [row.probe_us for row in self._restored.values()]
        return min((moment for moment in moments if moment > now_us), default=None)

    @property
    def open_count(self) -> int:
        """How many are open."""
        return len(self._restored) + sum(breaker.is_open for breaker in self._breakers.values())
