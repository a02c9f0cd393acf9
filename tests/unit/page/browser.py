"""A real browser without a window: Chromium, spoken to by the DevTools protocol, with nothing but the network of this
machine."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium-headless-shell", "chromium")
PROGRAM = next((found for found in map(shutil.which, NAMES) if found), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
PATIENCE_S = 60.0


class Tab:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its result."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            told = await self._next()
            if told.get("id") == self._number:
                assert "error" not in told, told
                return dict(told["result"])

    async def _next(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(await asyncio.wait_for(self._socket.receive_str(), PATIENCE_S))
        if "method" in told:
            self.events.append(told)
        return told

    def heard(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of one kind."""
        return [event["params"] for event in self.events if event["method"] == method]

    async def open(self, url: str) -> None:
        """Go there and wait until everything has been loaded."""
        self.events.clear()
        await self.do("Page.navigate", url=url)
        while not self.heard("Page.loadEventFired"):
            await self._next()

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, which the page's own policy does not hinder."""
        result = await self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def look(self, width: int, scheme: str = "light") -> None:
        """Be so wide, and prefer this colour scheme."""
        await self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.do("Emulation.setEmulatedMedia", features=features)


@contextmanager
def _browser() -> Iterator[int]:
    """A browser with an empty profile; gives the port of its protocol."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what is started may be a script, with the browser below it
        )
        try:
            yield _port(Path(profile) / "DevToolsActivePort", process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # an empty profile has nothing to lose
            process.wait()


def _port(file: Path, process: "subprocess.Popen[bytes]") -> int:
    for _ in range(int(PATIENCE_S / 0.05)):
        assert process.poll() is None, "the browser has ended"
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("the browser does not come up")


def browse(work: Callable[[Tab], Awaitable[None]]) -> None:
    """Do something in a tab of a browser of its own."""

    async def use(port: int) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [target for target in await answer.json() if target["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                for part in ("Page", "Network", "Log", "Runtime"):
                    await tab.do(f"{part}.enable")
                await work(tab)

    with _browser() as port:
        asyncio.run(use(port))
