"""Kill -9 between a deed and its answer: whoever asks again gets no second deed."""

from __future__ import annotations

import http.client
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from support.waiting import until_sync

if TYPE_CHECKING:
    from support.product import Product

HOOK = {"name": "n", "config": {"url": "https://example.com/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
# The answer is kept only when nobody holds this lock.
HELD = """
    CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END';
    CREATE TRIGGER held BEFORE UPDATE ON request_keys FOR EACH ROW EXECUTE FUNCTION held()
"""


def post(product: Product, token: str, key: str) -> tuple[int, dict[str, Any], bool]:
    """Status (0: no answer), body, whether it is a replayed one."""
    connection = http.client.HTTPConnection("127.0.0.1", product.web_port, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": key}
    try:
        connection.request("POST", "/customer/integrations", json.dumps(HOOK), headers)
        answer = connection.getresponse()
        return answer.status, json.load(answer), "Idempotency-Replayed" in answer.headers
    except (OSError, http.client.HTTPException):
        return 0, {}, False
    finally:
        connection.close()


def made(product: Product) -> list[str]:
    with product.superuser() as judge:
        return [str(row[0]) for row in judge.execute("SELECT integration_id FROM integrations")]


def test_killed_between_the_deed_and_its_answer(product: Product) -> None:
    product.add_devices("tenant-a", 1)
    said = product.pulse("tokens", "add", "--role", "customer_admin", "--tenant", "tenant-a", "--name", "a test")
    found = re.search(r"pulse_[\w-]{43}", said.stdout)
    assert found, said.stderr
    token = found[0]
    with product.superuser() as hand, ThreadPoolExecutor() as threads:
        hand.execute(HELD)
        hand.execute("SELECT pg_advisory_lock(4711)")
        asking = threads.submit(post, product, token, "killed")
        until_sync(lambda: made(product), what="the deed")
        product.kill("web")
        assert asking.result(30) == (0, {}, False)
        hand.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        hand.execute("DROP TRIGGER held ON request_keys")
        hand.execute("SELECT pg_advisory_unlock(4711)")
    status, problem, _ = until_sync(
        lambda: (answer := post(product, token, "killed"))[0] not in {0, 503} and answer, what="the web process"
    )
    assert (status, "carried out" in problem["detail"]) == (409, True)
    assert len(made(product)) == 1
    status, body, replayed = post(product, token, "another")
    assert (status, replayed) == (201, False)
    product.kill_all()
    product.start()
    assert post(product, token, "another") == (201, body, True), "what was answered survives kill -9"
    assert len(made(product)) == 2
