"""A whole form: made of a schema, shown with values and faults, taken as it was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulse_server.web.forms.basics import ABSENT, Control, Fault, Place, Reading, Showing, same
from pulse_server.web.forms.placing import Placed, place_faults
from pulse_server.web.forms.reading import field_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from pulse_server.web.forms.basics import Submitted

_MORE = "~more"


@dataclass(frozen=True)
class Shown:
    """A form to draw: ``{{ forms.summary(shown) }}`` and ``{{ forms.fields(shown) }}`` inside a ``<form>``."""

    root: Control
    faults: list[Placed]
    """Everything that is wrong, with the field it is about."""


@dataclass(frozen=True)
class Taken:
    """What was sent, as JSON for the API, and what could not even be read."""

    value: dict[str, Any]
    faults: list[Fault]
    more: frozenset[str]
    """The lists for which more rows are wanted: show the form again, with the value, and save nothing."""


class Form:
    """The fields of an object's schema.

    :param at: where in the API's body the object stands: the paths of its complaints begin so.
    """

    def __init__(self, schema: Mapping[str, Any], at: str = "") -> None:
        self._field = field_of(dict(schema), required=True)
        self._place = Place().child(at) if at else Place()

    @classmethod
    def of(cls, model: type[BaseModel], told: Mapping[str, Mapping[str, Any]]) -> Form:
        """The form of a model of the API's.

        :param told: the fields that are in it, in this order, and what a form says of each otherwise than the model:
            its ``title``, its ``description``. Those that the model has not are left out.
        """
        schema = model.model_json_schema()
        known = schema["properties"]
        properties = {name: {**known[name], **each} for name, each in told.items() if name in known}
        needed = [name for name in schema.get("required", ()) if name in properties]
        return cls({"type": "object", "properties": properties, "required": needed, "$defs": schema.get("$defs", {})})

    def show(self, value: Any = ABSENT, faults: Iterable[Fault] = (), *, more: frozenset[str] = frozenset()) -> Shown:
        r"""Show it empty, or with what there is (secrets masked), or with what was :meth:`take`\\ n."""
        root = self._field.show(value, self._place, Showing(more))
        return Shown(root, place_faults(root, faults))

    def take(self, sent: Submitted, before: Any = ABSENT) -> Taken:
        """Read what a browser sent.

        :param before: what the form was shown with. A secret that nobody typed stays ``********``.
        """
        reading = Reading(sent)
        value = self._field.take(reading, self._place, before)
        more = frozenset([*sent.getlist(_MORE)])
        return Taken(value if isinstance(value, dict) else {}, reading.faults, more)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What turns one object into another as a merge patch (RFC 7396): null removes."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key, ABSENT)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := changes(old, value):
                patch[key] = inner
        elif not same(old, value):
            patch[key] = value
    return patch
