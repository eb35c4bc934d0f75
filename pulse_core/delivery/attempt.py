"""One attempt: from a claimed delivery to how it ended, whatever the plugin does."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from pulse_core.delivery.containment import Raised, Returned, contained
from pulse_core.delivery.ending import Ending, of_error, of_return, permanent, temporary
from pulse_core.delivery.metrics import CONTAINED, HANGING
from pulse_core.outbound.contact import noting
from pulse_core.records import Notification

if TYPE_CHECKING:
    from pulse_core.delivery.channels import Channels, Line
    from pulse_core.delivery.endpoints import Endpoint
    from pulse_core.outbox import ClaimedDelivery

log = structlog.get_logger("pulse.delivery")


async def attempt(
    claimed: ClaimedDelivery, line: Line, endpoint: Endpoint[Any], channels: Channels, timeout_s: float
) -> Ending:
    """Try once, within ``timeout_s``. Never raises for what the plugin does; secrets are taken out of all texts."""
    try:
        notification = msgspec.json.decode(claimed.notification_json, type=Notification)
    except msgspec.MsgspecError as error:
        return permanent(f"the stored notification cannot be read: {error}")
    if endpoint.hanging >= endpoint.limit:
        return temporary(f"not tried: {endpoint.hanging} earlier attempts still hang in the plugin", broke_rules=True)
    with noting() as contact:
        ended = await contained(lambda: line.send(notification), timeout_s, when_left=lambda: _freed(line, endpoint))
    if isinstance(ended, Returned):
        ending = of_return(ended.value)
    elif isinstance(ended, Raised):
        ending = of_error(ended.error)
    else:
        ending = temporary(f"no answer within {timeout_s:g} s", broke_rules=ended.hanging)
        if ended.hanging:
            endpoint.hanging += 1
            HANGING.labels(line.plugin).inc()
            channels.retire(line)
    ending = msgspec.structs.replace(
        ending,
        detail=line.scrubbed(ending.detail),
        receipt=line.scrubbed(ending.receipt),
        address=contact.address,
        tls=contact.tls,
    )
    if ending.broke_rules:
        report(claimed, line.plugin, ending, ended.error if isinstance(ended, Raised) else None)
    return ending


def report(claimed: ClaimedDelivery, plugin: str, ending: Ending, error: BaseException | None = None) -> None:
    """Log and count what a plugin may not do. The text is scrubbed already; a traceback would not be."""
    CONTAINED.labels(plugin).inc()
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    log.warning(
        "delivery.contained",
        plugin=plugin,
        delivery_id=str(claimed.delivery_id),
        attempt=claimed.attempt,
        detail=ending.detail,
        where=f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "",
    )


def _freed(line: Line, endpoint: Endpoint[Any]) -> None:
    endpoint.hanging -= 1
    HANGING.labels(line.plugin).dec()
