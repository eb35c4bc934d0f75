"""What the containers' health checks run: ``healthy.py PORT`` succeeds while the process on that port can work."""

from __future__ import annotations

import http.client
import sys

_TIMEOUT_S = 4.0
_OK = 200


def healthy(port: int) -> bool:
    """Whether ``/readyz`` on this machine says that the role there can work."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == _OK
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not healthy(int(sys.argv[1])))
