"""The daemon as a process: its configuration, its signals, its exit code.

SIGTERM and SIGINT end it in order: blocks, a goodbye to every peer, no SA left. SIGUSR1 makes room for a successor, and
leaves SAs and policies as they are (:mod:`xfrmctl.daemon.inherit`). SIGHUP is a reload.
"""

import asyncio
import signal
import sys
from contextlib import suppress

from xfrmctl.config.load import Configuration, load
from xfrmctl.config.problem import ConfigError
from xfrmctl.control.schema import ReloadResult
from xfrmctl.daemon import logs
from xfrmctl.daemon.lifecycle import loop_factory
from xfrmctl.daemon.main import Daemon, Options
from xfrmctl.model.errors import XfrmctlError

EXIT_OK, EXIT_FAILED, EXIT_CONFIG = 0, 1, 2


async def _serve(options: Options, configuration: Configuration) -> int:
    loop = asyncio.get_running_loop()
    daemon = Daemon(options, configuration, loop)
    done: asyncio.Future[signal.Signals] = loop.create_future()

    def ended(number: signal.Signals) -> None:
        if not done.done():
            done.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        loop.add_signal_handler(number, ended, number)
    reloads: set[asyncio.Task[ReloadResult]] = set()

    def hangup() -> None:
        task = loop.create_task(daemon.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, hangup)
    try:
        await daemon.start()
    except BaseException:
        with suppress(Exception):
            await daemon.close()
        raise
    await (daemon.leave() if await done == signal.SIGUSR1 else daemon.stop())
    return EXIT_OK


async def _protect(options: Options, configuration: Configuration) -> int:
    daemon = Daemon(options, configuration, asyncio.get_running_loop())
    problems = await daemon.protect()
    for problem in problems:
        print(f"xfrmctl daemon: {problem}", file=sys.stderr)
    return EXIT_FAILED if problems else EXIT_OK


def run(options: Options, *, protect: bool = False) -> int:
    """Be the daemon until a signal comes; returns the exit code. Says on stderr what is wrong with a configuration.

    With ``protect`` only put up what a daemon that stops leaves behind.
    """
    logs.configure(options.log_format, options.log_level)
    try:
        configuration = load(options.config)
        for warning in configuration.warnings:
            print(warning, file=sys.stderr)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run((_protect if protect else _serve)(options, configuration))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except XfrmctlError as error:
        print(f"xfrmctl daemon: {error}", file=sys.stderr)
        return EXIT_FAILED
