"""The way out: what plugins get as ``services.outbound`` and ``services.http``.

addresses   is this address public? (pure)
names       the system's resolver, in threads
guard       resolve once, check all, connect to the checked address
contact     whom an attempt talked to
http        the HTTP client on top; answers: what an answer means
"""

from pulse_core.outbound.answers import HttpAnswer
from pulse_core.outbound.guard import Outbound
from pulse_core.outbound.http import HttpClient

__all__ = ["HttpAnswer", "HttpClient", "Outbound"]
