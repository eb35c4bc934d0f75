"""Taking the database away from a running product."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

    from support.product import Product


class without_database:  # noqa: N801 - reads as a statement
    """Keep the database away: killed, with its supervisor held so that it stays dead, or frozen."""

    def __init__(self, product: Product, how: str) -> None:
        postmaster = product.process("postgres")
        self._held: list[psutil.Process] = [product.process("up")]
        self._postmaster = postmaster if how == "gone" else None
        if how == "frozen":
            self._held = [postmaster, *postmaster.children()]

    def __enter__(self) -> None:
        for process in self._held:
            process.send_signal(signal.SIGSTOP)
        if self._postmaster is not None:
            self._postmaster.kill()

    def __exit__(self, *_: object) -> None:
        for process in self._held:
            if process.is_running():
                process.send_signal(signal.SIGCONT)
