"""What is wrong with a form that was sent: the API says it, and the form is shown again with it beside its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pulse_core.errors import Conflict, NotFound, PermanentFailure, Stale
from pulse_server.web import pages
from pulse_server.web.bodies import Problem
from pulse_server.web.forms import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STALE: Final = "Somebody else has changed it since you opened this form. Open it anew, and change it once more."
_STATUS: Final = {Stale: 412, Conflict: 409}


def demand_readable(faults: Iterable[Fault]) -> None:
    """Save nothing that could not be read. Raises Problem: 422."""
    if any(faults):
        raise Problem(422, "some fields are wrong", errors=[])


def demanded_revision(sent: Mapping[str, str]) -> str:
    """The revision that a form was shown with. Raises Problem (422): none, so it is not our form."""
    revision = sent.get("revision", "")
    if not revision:
        raise Problem(422, "this is not our form", errors=[{"field": "revision", "message": "needed"}])
    return revision


def demand_confirmed(confirm: str | None) -> None:
    """Let only the page that asks do what cannot be undone. Raises Problem: 422."""
    if confirm != "yes":
        wrong = [{"field": "confirm", "message": "say yes"}]
        raise Problem(422, "what cannot be undone must be confirmed", errors=wrong)


def wrong(
    error: Problem | PermanentFailure,
    unread: Iterable[Fault] = (),
    about: Mapping[type[PermanentFailure], str] | None = None,
) -> tuple[int, list[Fault]]:
    """Status and faults to show the form with. What is not about the form, or no page is wanted for, goes on.

    :param unread: what could not be read of it.
    :param about: the field that a failure of the kind is about, the first that fits; what is missing must be in it.
    """
    if not pages.wanted():
        raise error
    if isinstance(error, Problem):
        if error.code != 422 or error.errors is None:  # noqa: PLR2004 - the status of wrong fields
            raise error
        return 422, [*unread, *(Fault(each["field"], each["message"]) for each in error.errors)]
    field = next((name for kind, name in (about or {}).items() if isinstance(error, kind)), None)
    if field is None and isinstance(error, NotFound):
        raise error
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 422)
    return status, [Fault(field or "", STALE if isinstance(error, Stale) else str(error))]
