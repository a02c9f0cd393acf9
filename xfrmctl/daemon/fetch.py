"""CRLs and OCSP responses from web servers: bounded in time and size, and always with an outcome.

Redirects are not followed, proxies and cookies not used: a URL in a certificate shall make us talk to that server and
to no other. What comes back is only octets; whether it is signed by anybody who matters is judged by the engine.
"""

import asyncio
from collections.abc import Callable

import aiohttp

from xfrmctl.model.effects import FetchUrl, Token

Deliver = Callable[[Token, bytes | None, str], None]

_REQUEST = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
_CHUNK = 65536


class Fetcher:
    """Carries out FetchUrl; ``deliver`` gets each outcome, in the event loop's thread and in a step of its own."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, effect: FetchUrl) -> None:
        """Begin; returns at once."""
        task = asyncio.get_running_loop().create_task(self._run(effect))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Give up what is under way; nobody waits for it any more."""
        for task in tuple(self._tasks):
            task.cancel()

    async def _run(self, effect: FetchUrl) -> None:
        data: bytes | None = None
        problem = ""
        try:
            async with asyncio.timeout(effect.timeout_s):
                data = await _fetch(effect)
        except TimeoutError:
            problem = f"{effect.url} has not answered within {effect.timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = f"{effect.url} cannot be asked: {str(error) or type(error).__name__}"
        self._deliver(effect.token, data, problem)


async def _fetch(effect: FetchUrl) -> bytes:
    """The body of the answer; raises ValueError for an answer that is none."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session:
        method, headers = ("POST", _REQUEST) if effect.body else ("GET", {})
        request = session.request(method, effect.url, data=effect.body or None, headers=headers, allow_redirects=False)
        async with request as response:
            if response.status != 200:
                raise ValueError(f"it answers {response.status} {response.reason}")
            found = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                found += chunk
                if len(found) > effect.limit:
                    raise ValueError(f"its answer is larger than {effect.limit} bytes")
            return bytes(found)
