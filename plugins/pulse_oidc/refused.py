"""What is wrong with a token or a login: for the operator's log, never for whoever showed it."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - never leaves this plugin
    """Not to be believed. The text is ours alone: it holds nothing of what was shown."""
