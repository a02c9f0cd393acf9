"""Real ESP between network namespaces on this machine, and nothing outside them touched."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from xfrmctl.lab import boot
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import Job, inside
from xfrmctl.lab.kernel import cache, native, source
from xfrmctl.lab.kernel.build import ensure_kernel
from xfrmctl.lab.kernel.fragment import FRAGMENT
from xfrmctl.lab.process import exit_on_sigterm

app = typer.Typer(
    name="lab",
    help=__doc__ or "",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    epilog="Without a verb: demo. Where this machine's kernel has no ESP, one that has is built once and booted.",
)


@contextmanager
def _told() -> Iterator[None]:
    """A LabError becomes one message and exit status 1."""
    exit_on_sigterm()
    try:
        yield
    except LabError as error:
        print(f"xfrmctl lab: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """Gateways, routers and hosts in network namespaces, with real ESP; without a verb: demo.

    Example: xfrmctl lab
    """
    if context.invoked_subcommand is None:
        demo()


@app.command()
def demo() -> None:
    """Bring two gateways up, send traffic through their tunnel, and report what was measured.

    Two xfrmctl daemons negotiate, host A pings and transfers to host B, a capture on the router proves that
    only ESP crossed it. The exit status is 0 when every check of the report holds.

    Example: xfrmctl lab demo
    """
    with _told():
        if inside() is None:
            argv = [sys.executable, "-m", "xfrmctl.lab", "demo"]
            raise typer.Exit(boot.run(Job(argv=argv, timeout_s=300)))
        from xfrmctl.lab.demo import main  # noqa: PLC0415 - outside the lab nothing of it is needed

        raise typer.Exit(main())


@app.command()
def shell() -> None:
    """Leave the demonstration's tunnel up and open a shell in it, to explore.

    Inside, `ip netns` lists the hosts and `ip netns exec HOST COMMAND` runs something on one of them.
    Ctrl-D ends the shell and removes everything.

    Example: xfrmctl lab shell
    """
    with _told():
        if inside() is None:
            argv = [sys.executable, "-m", "xfrmctl.lab", "shell"]
            raise typer.Exit(boot.terminal(Job(argv=argv)))
        from xfrmctl.lab.demo import explore  # noqa: PLC0415

        raise typer.Exit(explore())


@app.command(name="scenario")
def scenario(
    names: Annotated[list[str] | None, typer.Argument(help="Which; the list of them if left out.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, one after another.")] = False,
    shell: Annotated[bool, typer.Option("--shell", help="Set it up, and open a shell in it to explore.")] = False,
) -> None:
    """Play a story and check how it ends: a black hole, a NAT, a crash, a wrong key and what diagnose says of it.

    Each is a directory with a README, and three short scripts: setup, check, teardown. The Vagrant lab plays the
    same ones between virtual machines. The exit status is 0 if every check holds.

    Example: xfrmctl lab scenario black-hole

    Example: xfrmctl lab scenario wrong-key --shell
    """
    from xfrmctl.lab import play  # noqa: PLC0415 - outside the lab nothing of it is needed

    with _told():
        chosen = [one.name for one in play.scenarios() if not one.machines_only] if everything else names or []
        if not chosen:
            width = max(len(one.name) for one in play.scenarios())
            for one in play.scenarios():
                print(f"{one.name.ljust(width)}  {one.title}{' (Vagrant lab only)' if one.machines_only else ''}")
            return
        play.named(chosen)
        if shell and len(chosen) != 1:
            raise LabError("a shell is in one scenario")
        if inside() is not None:
            raise typer.Exit(play.explore(chosen[0]) if shell else play.main(chosen))
        argv = [sys.executable, "-m", "xfrmctl.lab", "scenario", *chosen, *(["--shell"] if shell else [])]
        raise typer.Exit(boot.terminal(Job(argv=argv)) if shell else boot.run(Job(argv=argv)))


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def run(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")],
    timeout: Annotated[float | None, typer.Option(help="Seconds until the command is ended (status 124).")] = None,
    memory: Annotated[int, typer.Option(help="Megabytes of memory for the lab kernel.")] = 1536,
    time_travel: Annotated[
        bool,
        typer.Option("--time-travel", help="Virtual time: every sleep is instant, computing takes no time."),
    ] = False,
    kernel_argument: Annotated[
        list[str] | None, typer.Option(help="A word for the lab kernel's command line; may be repeated.")
    ] = None,
) -> None:
    """Run a command as root in a kernel with ESP, on this machine's own files; its exit status is ours.

    Example: xfrmctl lab run -- ip xfrm state

    Example: xfrmctl lab run --time-travel -- sh -c "sleep 86400; date"
    """
    with _told():
        job = Job(
            argv=command,
            timeout_s=timeout,
            memory_mb=memory,
            time_travel=time_travel,
            kernel_arguments=kernel_argument or (),
        )
        raise typer.Exit(boot.run(job))


@app.command()
def build() -> None:
    """Build the lab kernel now, if it is needed and not there yet: three to six minutes, once.

    Example: xfrmctl lab build
    """
    with _told():
        boot.need_root()
        if native.kernel_has_esp():
            print("not needed: the running kernel has ESP")
            return
        print(ensure_kernel(boot.say))


@app.command()
def status() -> None:
    """Say what the lab would run on, and where the lab kernel is kept.

    Example: xfrmctl lab status
    """
    with _told():
        boot.need_root()
        esp = native.kernel_has_esp()
        print(f"running kernel has ESP: {'yes' if esp else 'no'}")
        print(f"inside the lab:         {inside() or 'no'}")
        try:
            path = cache.kernel_path(source.newest(), FRAGMENT.read_text())
        except LabError as error:
            print(f"lab kernel:             {error}" if not esp else "lab kernel:             not needed")
            return
        print(f"lab kernel:             {path} ({'built' if path.exists() else 'not built yet'})")
