"""What people see while the platform starts and stops: a spinner for what goes on, a line for what is done."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from pulse_server.cli.base import err, escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


class TerminalStory:
    """Tells people on a terminal; into a file it writes the finished lines only."""

    def __init__(self, console: Console = err) -> None:
        self._console = console

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show that something goes on, then that it is done and how long it took."""
        started = time.monotonic()
        try:
            with self._spinner(title):
                yield
        except BaseException:
            self._print(f"[red]✗[/] {escaped(title)}")
            raise
        took_s = time.monotonic() - started
        self._print(f"[green]✓[/] {escaped(title)} [dim]{took_s:.1f} s[/]")

    def note(self, text: str) -> None:
        """Say one thing that happened."""
        self._print(f"[yellow]•[/] {escaped(text)}")

    @contextmanager
    def _spinner(self, title: str) -> Iterator[None]:
        spinner = self._console.status(f"{escaped(title)} …", spinner="dots")
        with suppress(OSError):
            spinner.start()
        try:
            yield
        finally:
            with suppress(OSError):
                spinner.stop()

    def _print(self, text: str) -> None:
        """Whoever closes the terminal wants everything to stop, in order, all the same."""
        with suppress(OSError):
            self._console.print(text, soft_wrap=True)


class LogStory:
    """Tells the log."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("pulse.up")

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Log when it is done."""
        started = time.monotonic()
        yield
        self._log.info(title, took_s=round(time.monotonic() - started, 3))

    def note(self, text: str) -> None:
        """Log it."""
        self._log.warning(text)
