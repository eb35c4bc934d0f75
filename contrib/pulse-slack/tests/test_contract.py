"""pulse-slack keeps the rules of a channel, and writes what Slack reads."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.testing.channels import ChannelContract, a_notification
from pulse_slack import SlackChannel, text_of

if TYPE_CHECKING:
    from pulse_core.testing.receivers import HttpReceiver


class TestSlackContract(ChannelContract):
    """Everything that every channel must do."""

    channel = SlackChannel

    def integration(self, receiver: HttpReceiver) -> dict[str, Any]:
        """Point it at the receiver instead of at Slack."""
        return {"webhook_url": f"{receiver.url}/services/T000/B000/xoxs3cr3t", "mention": "<!here>"}

    def seen(self, body: bytes) -> str:
        """Read a message as Slack shows it."""
        return html.unescape(json.loads(body)["text"])


def test_markup_in_an_alert_is_text() -> None:
    """A device cannot mention everybody."""
    text = text_of(a_notification(summary="<!channel> & <https://x|y>"))
    assert "&lt;!channel&gt; &amp; &lt;https://x|y&gt;" in text


@pytest.mark.parametrize(("event", "mentioned"), [("OPEN", True), ("ACKNOWLEDGED", False), ("CLOSED", False)])
def test_only_an_opening_alert_mentions_people(event: str, mentioned: bool) -> None:
    """Good news wakes nobody."""
    assert text_of(a_notification(event=event), "<!here>").endswith("<!here>") is mentioned
