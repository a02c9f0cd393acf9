"""Fetching from a web server on loopback: what comes back, and that there always is an outcome."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from xfrmctl.daemon.fetch import Fetcher
from xfrmctl.model.effects import FetchUrl, Token

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Outcome = tuple[Token, bytes | None, str]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.01)  # 0 would be for ever
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await runner.cleanup()


async def fetched(url: str, *, body: bytes = b"", limit: int = 1000, timeout_s: float = 5.0) -> Outcome:
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    fetcher = Fetcher(lambda token, data, problem: outcome.set_result((token, data, problem)))
    fetcher.start(FetchUrl(7, url, body, limit, timeout_s))
    return await outcome


def run(handler: Handler, **more: object) -> Outcome:
    async def go() -> Outcome:
        async with serving(handler) as url:
            return await fetched(f"{url}/x", **more)  # type: ignore[arg-type]

    return asyncio.run(go())


def test_a_crl_is_got_and_an_ocsp_request_posted() -> None:
    seen: list[tuple[str, str | None, bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.headers.get("Content-Type"), await request.read()))
        return web.Response(body=b"signed")

    assert run(handler) == (7, b"signed", "")
    assert run(handler, body=b"request") == (7, b"signed", "")
    assert seen == [("GET", None, b""), ("POST", "application/ocsp-request", b"request")]


def test_too_much_is_not_read() -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 64 << 20:
            await response.write(bytes(65536))
            sent += 65536
        return response

    token, data, problem = run(handler)
    assert (token, data) == (7, None) and "larger than 1000 bytes" in problem and sent < 32 << 20


def test_who_trickles_or_hangs_is_given_up() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.sleep(60)
        return response

    token, data, problem = run(handler, timeout_s=0.2)
    assert (token, data) == (7, None) and "not answered within 0.2 s" in problem


def test_redirects_are_not_followed() -> None:
    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/")

    token, data, problem = run(handler)
    assert (token, data) == (7, None) and "302" in problem


def test_who_is_not_there_or_no_url_at_all() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    for url in (f"http://127.0.0.1:{port}/", "http://", "http://[::1", "http://a b/"):
        token, data, problem = asyncio.run(fetched(url))
        assert (token, data) == (7, None) and "cannot be asked" in problem, url


def test_a_stop_leaves_nothing_behind() -> None:
    async def go() -> list[Outcome]:
        outcomes: list[Outcome] = []

        async def handler(request: web.Request) -> web.Response:
            await asyncio.sleep(60)
            return web.Response()

        async with serving(handler) as url:
            fetcher = Fetcher(lambda *outcome: outcomes.append(outcome))
            fetcher.start(FetchUrl(1, url, b"", 10))
            await asyncio.sleep(0.05)
            fetcher.stop()
            await asyncio.sleep(0.05)
        return outcomes

    assert asyncio.run(go()) == []
