"""The command line: `convkit train | evaluate | predict | demo | info | warmup`.

Errors that a user can mend are one line on stderr and exit code 2; `--debug` or CONVKIT_DEBUG=1 shows where they come from.  Ctrl-C exits
with 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

USER_ERRORS = (ValueError, IndexError, RuntimeError, OSError)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line, with all sub-commands."""
    from . import evaluate, info, predict, train, warmup

    top = argparse.ArgumentParser(prog="convkit", description="Train and understand small convolutional networks, without PyTorch.")
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in (train, evaluate, predict, info, warmup):
        module.add(commands)
    for command in (top, *commands.choices.values()):
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error (also: CONVKIT_DEBUG=1)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (sys.argv without one) and gives its exit code."""
    try:
        top = parser()
        args = top.parse_args(argv)
        if args.version:
            import convkit

            print(f"convkit {convkit.__version__}")
            return 0
        if args.command is None:
            top.print_help(sys.stderr)
            return 2
        return int(args.run(args) or 0)
    except KeyboardInterrupt as stop:
        print(f"\nconvkit: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # convkit info | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except USER_ERRORS as error:
        if os.environ.get("CONVKIT_DEBUG", "0") not in ("", "0") or "--debug" in (sys.argv[1:] if argv is None else argv):
            raise
        print(f"convkit: error: {_text(error)}", file=sys.stderr)
        return 2


def _text(error: BaseException) -> str:
    """The message, without the error number that Python puts before it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
