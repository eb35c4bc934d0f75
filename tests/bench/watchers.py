"""Holds streams of notices open, as live pages do, until its standard input ends; then prints how many events came."""

from __future__ import annotations

import asyncio
import sys

import aiohttp


async def main(url: str, each: int, tokens: list[str]) -> None:
    """Open ``each`` streams with each of the tokens."""
    count = 0
    opened = asyncio.Semaphore(0)

    async def watch(http: aiohttp.ClientSession, token: str) -> None:
        nonlocal count
        async with http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if line.startswith(b"event: ready"):
                    opened.release()
                count += line.startswith(b"event: changed")

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        tasks = [asyncio.create_task(watch(http, token)) for token in tokens for _ in range(each)]
        for _ in tasks:
            await opened.acquire()
        _say("ready")
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        _say(str(count))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
