"""Forms made from JSON Schemas: shown, sent by a browser without any script, read back, and corrected.

What the API takes, the form makes: :meth:`Form.take` gives the JSON for the API's own validation, whose complaints
:meth:`Form.show` puts beside the fields. Templates draw what :meth:`Form.show` returns with the macros in
``forms.html``.
"""

from pulse_server.web.forms.basics import ABSENT, Control, Fault, Submitted
from pulse_server.web.forms.form import Form, Shown, Taken, changes

__all__ = ["ABSENT", "Control", "Fault", "Form", "Shown", "Submitted", "Taken", "changes"]
