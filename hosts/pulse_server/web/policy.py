"""What our pages may load, and where their forms may go: the Content-Security-Policy."""

from __future__ import annotations


def policy(*, form_action: str = "'none'") -> str:
    """Content-Security-Policy: our own files, nothing inline, in nobody's frame.

    :param form_action: where a page's forms may be sent to, and where that may lead.
    """
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        f"base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"
    )
