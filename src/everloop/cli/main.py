"""The entry point: find the command, run it, and turn what goes wrong into one kind of message."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Any

from everloop import __version__
from everloop.cli.commands import COMMANDS

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``everloop``; returns the exit status.

    0 is success; each kind of failure has a status of its own, see ``everloop.core.errors``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    if arguments[0] in ("--version", "-V"):
        print(f"everloop {__version__}")
        return 0
    try:
        return _run(arguments)
    except BrokenPipeError:
        # the reader of a pipe (head, say) has seen enough; nothing more may be written at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def overview() -> str:
    """The text of ``everloop --help``."""
    lines = [
        "everloop: the whole loop of a model, from experiment to reliable serving and round again.",
        "",
        "Usage: everloop COMMAND [OPTIONS]        everloop COMMAND --help tells more",
    ]
    group = ""
    for command in COMMANDS:
        if command.group != group:
            group = command.group
            lines += ["", f"{group}:"]
        lines.append(f"  {command.name:<10} {command.summary}")
    lines += ["", "New here? everloop demo"]
    return "\n".join(lines)


def _run(arguments: list[str]) -> int:
    # before any library starts OpenMP: threads that wait by spinning take a busy machine's cores from the others
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # pydantic, which Typer and MLflow bring, would look through every installed package for plugins of its own
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from everloop.core.errors import EverloopError

    name, rest = arguments[0], arguments[1:]
    is_json = "--json" in rest
    try:
        if name == "serve" and (start := _imported("everloop.cli.starting").plain_start(rest)) is not None:
            start.run()
            return 0
        return _run_by_typer(name, rest)
    except EverloopError as error:
        return _fail(error, is_json=is_json)


def _run_by_typer(name: str, rest: list[str]) -> int:
    """Run a command whose options Typer reads; it takes longer to import than a whole ``--help`` may last."""
    import typer

    from everloop.core.errors import UsageError, nearest

    # click's base error, which typer carries under a private name: BadParameter > UsageError > ClickException
    usage_error: Any = typer.BadParameter.__mro__[2]
    try:
        if name not in {command.name for command in COMMANDS}:
            hint = nearest(name, [command.name for command in COMMANDS]) + "; see: everloop --help"
            raise UsageError("command_unknown", f"there is no command {name!r}", hint=hint)
        module = _imported(f"everloop.cli.{name}")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        app.command(name)(module.command)
        status: Any = app(args=rest, prog_name=f"everloop {name}", standalone_mode=False)
        return int(status or 0)
    except usage_error as error:
        raise UsageError("usage", error.format_message(), hint=f"see: everloop {name} --help") from None
    except typer.Abort:
        print("aborted", file=sys.stderr)
        return 130


def _imported(module: str) -> Any:
    """A module of ours, and all that it imports."""
    import importlib

    gc.disable()  # modules stay: looking for garbage among them, now or later, takes a fifth of a server's start
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def _fail(error: Any, *, is_json: bool) -> int:
    """Tell what went wrong, on stderr, and give the exit status."""
    if is_json:
        import json

        print(json.dumps(error.to_dict()), file=sys.stderr)
        return int(error.exit_status)
    lines = [f"error[{error.code}]: {error.message}"]
    if error.path:
        lines.append(f"  at: {error.path}")
    if error.hint:
        lines.append(f"  hint: {error.hint}")
    print("\n".join(lines), file=sys.stderr)
    return int(error.exit_status)


if __name__ == "__main__":
    sys.exit(main())
