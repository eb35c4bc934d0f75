"""Why messages are refused, in words for people: what was wrong, and what to do about it.

The only place that explains :class:`~pulse_core.records.Reason`; every reason has its line.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pulse_core.records import Reason


class Explanation(Struct, frozen=True):
    """What a reason means."""

    what: str
    """What was wrong, in one sentence."""
    remedy: str
    """What to do about it."""


_STRANGER = (
    "Register the device, or stop whoever pretends to be one; the topic, or the path, says what it called itself."
)
_ANEW = "Rotate the device's token, or activate the device anew, and give it the new token."

EXPLAINED: Final[dict[Reason, Explanation]] = {
    Reason.PAYLOAD_TOO_LARGE: Explanation(
        "The message is larger than MAX_PAYLOAD_BYTES allows.",
        "Have the device send less at once, or raise the limit in the settings.",
    ),
    Reason.BAD_TOPIC_FORMAT: Explanation(
        "The topic, or the path, is none that a device of this platform sends to, or not the device's own.",
        "Send to tenant/{tenant_id}/device/{device_id}/{msg_type}, with the ids that the device was registered with.",
    ),
    Reason.RATE_LIMITED: Explanation(
        "The device sent more than RATE_LIMIT_RPS and RATE_LIMIT_BURST allow, so this message was left out.",
        "Have it send less often, or with QoS 1, where it is slowed down instead; or raise the limits in the settings.",
    ),
    Reason.TENANT_MISMATCH_TOPIC_VS_PAYLOAD: Explanation(
        "The payload names another tenant than the topic, or the path, does.",
        "Set the same tenant_id in both, or leave it out of the payload.",
    ),
    Reason.MISSING_SITE_ID: Explanation(
        "The payload has no site_id, so nobody knows where the device stands.",
        "Have the device send the site_id that it was registered with.",
    ),
    Reason.UNREGISTERED_DEVICE: Explanation("No device of this tenant and id is registered.", _STRANGER),
    Reason.DEVICE_REVOKED: Explanation(
        "The device was revoked: nothing of it is taken any more.",
        "Switch it off; if it was revoked by mistake, register another in its place.",
    ),
    Reason.SITE_MISMATCH_REGISTRY_VS_PAYLOAD: Explanation(
        "The payload names another site than the device is registered at.",
        "Correct the site_id that the device sends, or its registration if it has moved.",
    ),
    Reason.TOKEN_NOT_SET_IN_REGISTRY: Explanation(
        "The device is registered, but was never activated, so no token of it could be right.",
        "Make an activation code for it, and have the device trade that for its token.",
    ),
    Reason.TOKEN_MISSING: Explanation(
        "The message came without a token, so it does not show whose it is.",
        "Send the token as MQTT password, as X-Provision-Token, or as provision_token in the payload.",
    ),
    Reason.TOKEN_INVALID: Explanation(
        "The token is not this device's: mistyped, another device's, or replaced by a newer one.", _ANEW
    ),
    Reason.MALFORMED_JSON: Explanation(
        "The payload is no JSON object.",
        "See what was kept of it: cut off, in another encoding, or another format; correct what the device writes.",
    ),
    Reason.INVALID_FIELD: Explanation(
        "The payload is JSON, but a field of it is not as it must be; the detail says which.",
        "Correct that field in what the device sends: metrics are numbers, true or false, or texts.",
    ),
    Reason.TIMESTAMP_OUT_OF_RANGE: Explanation(
        "The time in ts is more than 10 minutes ahead, or older than TELEMETRY_RETENTION_DAYS.",
        "Set the device's clock, or leave ts out: then the time of arrival counts.",
    ),
    Reason.UNKNOWN_MESSAGE_TYPE: Explanation(
        "The last word of the topic, or of the path, is no message type.",
        "Send heartbeat, telemetry or event.",
    ),
    Reason.INGEST_EXCEPTION: Explanation(
        "The message could not be stored although it looked right: that is a fault of ours, or of a plugin.",
        "Look for batch.poison in the log of the pipeline, and report it with this message.",
    ),
}

BRIEFLY: Final[dict[Reason, str]] = {
    Reason.PAYLOAD_TOO_LARGE: "too large",
    Reason.BAD_TOPIC_FORMAT: "no topic of this device",
    Reason.RATE_LIMITED: "over the rate limit",
    Reason.TENANT_MISMATCH_TOPIC_VS_PAYLOAD: "it names another tenant",
    Reason.MISSING_SITE_ID: "it names no site",
    Reason.UNREGISTERED_DEVICE: "not registered",
    Reason.DEVICE_REVOKED: "revoked, or its tenant is suspended",
    Reason.SITE_MISMATCH_REGISTRY_VS_PAYLOAD: "it names another site",
    Reason.TOKEN_NOT_SET_IN_REGISTRY: "never activated",
    Reason.TOKEN_MISSING: "no token",
    Reason.TOKEN_INVALID: "wrong token",
    Reason.MALFORMED_JSON: "no valid JSON",
    Reason.INVALID_FIELD: "a wrong field",
    Reason.TIMESTAMP_OUT_OF_RANGE: "a time out of range",
    Reason.UNKNOWN_MESSAGE_TYPE: "no such message type",
    Reason.INGEST_EXCEPTION: "an error of ours",
}
"""The same in a few words, for a line in a device's history."""
