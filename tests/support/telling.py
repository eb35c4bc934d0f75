"""Nothing that is shown of an error may hold a secret."""

from __future__ import annotations

import traceback

SECRET = "s3cr3t-t0k3n"


def tells_no_secret(error: BaseException, port: int | None = None) -> None:
    """See that neither the error nor its traceback holds :data:`SECRET`; they name the port, if one is given."""
    shown = "".join(traceback.format_exception(error))
    told = [line for line in shown.splitlines() if SECRET in line]
    assert not told
    assert SECRET not in repr(error)
    assert port is None or str(port) in str(error)
