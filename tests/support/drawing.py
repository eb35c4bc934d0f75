"""Forms drawn as pages draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pulse_server.web.forms import ABSENT, Fault, Form
from support.browser_forms import Page
from support.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_server.web.forms import Shown, Taken

TEMPLATE = '{% import "forms.html" as forms %}{{ forms.summary(shown) }}{{ forms.fields(shown) }}'

_environment = Environment(
    loader=FileSystemLoader(ROOT / "hosts/pulse_server/web/templates"), autoescape=True, undefined=StrictUndefined
)
_template = _environment.from_string(TEMPLATE)


def drawn(shown: Shown) -> str:
    """The HTML of a form."""
    return _template.render(shown=shown)


def page(form: Form, value: Any = ABSENT, faults: Iterable[Fault] = (), **more: Any) -> Page:
    """A form on a page."""
    return Page(drawn(form.show(value, faults, **more)))


def untouched(form: Form, value: Any = ABSENT) -> Taken:
    """What comes back of a form that was shown and sent as it is."""
    return form.take(page(form, value).sent(), value)


def filled(form: Form, value: Any = ABSENT, **typed: Any) -> Taken:
    """What comes back once somebody typed; names as the form has them, ``__`` for a dot."""
    names = {name.replace("__", "."): each for name, each in typed.items()}
    return form.take(page(form, value).sent(names), value)
