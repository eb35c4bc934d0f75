"""What a page says of the deed that led to it: "Saved.", told once.

A deed answers with ``after.to("/customer/users", "saved")``; the next page of this browser says it. The cookie in
between names one of our own sentences, so nobody can put another into it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from quart import request

from pulse_server.web import pages
from pulse_server.web.entrance import cookies

if TYPE_CHECKING:
    from quart import Response

COOKIE: Final = f"{cookies.PREFIX}-said"
_LASTS_S: Final = 60
_FORM: Final = re.compile(r"([a-z_]+)(?:\.(\d{1,9}))?")

SENTENCES: Final = {
    "saved": "Saved.",
    "added": "Added.",
    "deleted": "Deleted.",
    "acknowledged": "Acknowledged.",
    "closed": "Closed.",
    "cancelled": "Cancelled: it is not sent.",
    "replayed": "Sent again: this is the new delivery.",
    "replaying": "Sent again: {}.",
}
"""``{}`` is the number that was given."""


def to(path: str, sentence: str, number: int | None = None) -> Response:
    """Send the browser to a page of ours, which then says a sentence; KeyError: there is none of that name."""
    SENTENCES[sentence]
    response = pages.to(path)
    cookies.give(response, COOKIE, sentence if number is None else f"{sentence}.{number}", _LASTS_S)
    return response


def said() -> str | None:
    """The sentence that this request's page is to say."""
    found = _FORM.fullmatch(request.cookies.get(COOKIE, ""))
    if found is None or found[1] not in SENTENCES:
        return None
    return SENTENCES[found[1]].format(found[2] or "")


def forget(response: Response) -> None:
    """It has been said."""
    cookies.take_back(response, COOKIE)
