"""The command ``xfrmctl``: global options and the table of verbs."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from xfrmctl import __version__
from xfrmctl.cli import (
    check,
    cleanup,
    daemon,
    debug,
    diagnose,
    down,
    events,
    explain,
    import_config,
    mtu,
    outcome,
    plan,
    rekey,
    reload,
    session,
    show,
    top,
    trace,
    up,
    usage,
)
from xfrmctl.model.errors import XfrmctlError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Verbs(TyperGroup):
    """The verbs, and the one place where a failure becomes a message and an exit code."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb; where there is none of that name, the one that was meant is named."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            ctx.fail(usage.no_verb(args[0], self.commands))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; an error raised on purpose is told without a traceback."""
        ctx.ensure_object(session.Session)
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            usage.improve(error)
            raise
        except XfrmctlError as error:
            raise typer.Exit(outcome.tell(error, ctx.obj.json)) from None
        except BrokenPipeError:  # xfrmctl events | head
            outcome.drop_output()
            raise typer.Exit(0) from None


class LabVerbs(TyperGroup):
    """The lab's verbs; its modules are imported when one of them is asked for, not for ``xfrmctl --help``."""

    def _real(self) -> Any:
        return typer.main.get_command(import_module("xfrmctl.lab.app").app)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Hand over to the real group before it parses anything."""
        return self._real().make_context(info_name, args, parent=parent, **extra)


app = typer.Typer(
    name="xfrmctl",
    cls=Verbs,
    help="IPsec gateway controller for Linux XFRM: IKEv2, path MTU and MSS that keep themselves right.",
    epilog=outcome.HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"xfrmctl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    control: Annotated[
        Path, typer.Option("--control", envvar="XFRMCTL_CONTROL", help="Control socket of the daemon.")
    ] = session.DEFAULT_CONTROL,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Global options."""
    context.obj = session.Session(control=control)


app.command("check")(check.check)
app.command("daemon")(daemon.daemon)
app.command("up")(up.up)
app.command("down")(down.down)
app.command("rekey")(rekey.rekey)
app.command("show")(show.show)
app.command("top")(top.top)
app.command("diagnose")(diagnose.diagnose)
app.command("reload")(reload.reload)
app.command("plan", cls=plan.PlanCommand)(plan.plan)
app.command("debug")(debug.debug)
app.command("events")(events.events)
app.command("mtu")(mtu.mtu)
app.command("explain")(explain.explain)
app.command("trace")(trace.trace)
app.command("import")(import_config.import_config)
app.command("cleanup")(cleanup.cleanup)
app.add_typer(
    typer.Typer(cls=LabVerbs, help="Two gateways with real ESP in network namespaces, to try and to test."),
    name="lab",
)


def main() -> None:
    """Entry point of the installed command."""
    session.fit_output()
    with outcome.written():
        app()
