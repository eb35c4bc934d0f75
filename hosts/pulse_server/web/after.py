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
_BETWEEN: Final = "+"
_AT_MOST: Final = 4
"""So many sentences at once."""

SENTENCES: Final = {
    "saved": "Saved.",
    "added": "Added.",
    "deleted": "Deleted.",
    "acknowledged": "Acknowledged.",
    "closed": "Closed.",
    "nothing_chosen": "Nothing was selected, so nothing was changed.",
    "acknowledged_some": "{} acknowledged.",
    "closed_some": "{} closed.",
    "acknowledged_already": "{} were acknowledged already.",
    "acknowledged_already_one": "{} was acknowledged already.",
    "closed_already": "{} were closed already.",
    "closed_already_one": "{} was closed already.",
    "not_found": "{} are not there any more.",
    "not_found_one": "{} is not there any more.",
    "password": "Your password is changed. Wherever else you were logged in, you are not any more.",
    "theme": "Pages look like this from now on, in this browser.",
    "disabled": "Disabled, and logged out everywhere.",
    "enabled": "Enabled.",
    "removed": "Removed.",
    "revoked": "Revoked: nobody gets in with it any more.",
    "suspended": "Suspended.",
    "resumed": "Resumed.",
    "tenant_removed": "Removed, with everything that was theirs.",
    "queued": "Queued. What becomes of it stands below.",
    "saved_without_rejects": "Saved. MODE is PROD, so no refused messages are kept.",
    "cancelled": "Cancelled: it is not sent.",
    "export_asked": "Asked for. It is written in the background.",
    "export_cancelled": "Cancelled: nothing of it is kept.",
    "replayed": "Sent again: this is the new delivery.",
    "replaying": "Sent again: {}.",
}
"""``{}`` is the number that was given; of 1, the sentence whose name ends with ``_one``, where there is one."""


def to(path: str, sentence: str, number: int | None = None, *besides: tuple[str, int]) -> Response:
    """Send the browser to a page of ours, which then says a sentence; KeyError: there is none of that name.

    :param besides: more of them, each with its number.
    """
    wanted = [(sentence, number), *besides]
    for name, _ in wanted:
        SENTENCES[name]
    response = pages.to(path)
    said = _BETWEEN.join(name if number is None else f"{name}.{number}" for name, number in wanted)
    cookies.give(response, COOKIE, said, _LASTS_S)
    return response


def said() -> str | None:
    """What this request's page is to say."""
    parts = request.cookies.get(COOKIE, "").split(_BETWEEN)
    told = [_sentence(each) for each in parts]
    if len(told) > _AT_MOST or None in told:
        return None
    return " ".join(filter(None, told))


def _sentence(part: str) -> str | None:
    found = _FORM.fullmatch(part)
    if found is None or found[1] not in SENTENCES:
        return None
    name, number = found.groups(default="")
    of_one = SENTENCES.get(f"{name}_one") if number == "1" else None
    return (of_one or SENTENCES[name]).format(number)


def forget(response: Response) -> None:
    """It has been said."""
    cookies.take_back(response, COOKIE)
