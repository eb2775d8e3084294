"""The command line. This file imports nothing heavy, so that help and small commands answer at once."""

import os
import sys
from collections.abc import Sequence

from lit_nas import __version__

__all__ = ("main",)

TRAINING = ("fit", "validate", "test", "predict")
HELP = """\
usage: lit-nas COMMAND [arguments]

Differentiable neural architecture search.

one fit (configured by YAML layers `-c FILE` and by arguments; later ones win):
  fit        search, or retrain a genotype
  validate   loss and accuracy on held-out training data
  test       loss and accuracy on the test part
  predict    classes of the test part, or of a folder of images
  latency    measure what the candidates of a search take on this machine
  profile    least, median and most weights, multiply-adds and latency of a search space
  correlate  group the operations of a search by the correlation of their outputs
  confusion  estimate how much the gradients of mini-batches work against each other

a whole job:
  run        search, derive, retrain, test; finished stages are skipped
  sweep      a fit or a job with several seeds: mean and deviation
  match-depth  find search networks that are as hard to optimise as the final network
  report     one HTML page of runs, jobs and sweeps, side by side
  workspace  lay out the workspace of a project at Weights & Biases
  stage      one stage of a job from its stage.json, as `run` starts it in a process of its own

genotypes (GENOTYPE is a JSON file, a checkpoint of a search, a published name or a string of NAS-Bench-201):
  derive     write the discrete cells of a search checkpoint
  describe   weights, multiply-adds and a table per cell
  draw       picture of the cells
  export     the trained network of a checkpoint as ONNX, pt2 or plain Python; the code of a genotype's
  ranks      the best networks of a search whose cells choose independently (FaDE-ranks)

tabular benchmark:
  query      test accuracy, rank and regret of a cell of NAS-Bench-201
  baseline   what random search and evolution find in the table

Every command takes `--import MODULE`, which makes operations and spaces of your own known.
`lit-nas COMMAND --help` lists the arguments of a command, `lit-nas --version` prints the version.
Start with: lit-nas run -c configs/quickstart.yaml
"""


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: The command and its arguments; those of the process by default.

    Returns:
        Exit status: 0; 2 after an error of the user's, which is printed as one paragraph; 130 after Ctrl-C.
    """
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help", "help"):
        sys.stdout.write(HELP)
        return 0 if args else 2
    command, rest = args[0], args[1:]
    if command == "--version":
        sys.stdout.write(f"lit-nas {__version__}\n")
        return 0
    if os.getcwd() not in sys.path:  # for classes of one's own; "" is the folder of a file while the parser reads it
        sys.path.append(os.getcwd())
    try:
        rest = _without_imports(rest)
        if command in TRAINING:
            from lit_nas.cli.arguments import check_arguments

            check_arguments(rest)  # before torch is imported, which takes seconds

            from lit_nas.cli.training import train

            train(command, rest)
        elif command == "run":
            from lit_nas.cli.run import run

            run(rest)
        elif command == "sweep":
            from lit_nas.cli.sweep import sweep

            sweep(rest)
        elif command == "stage":
            from lit_nas.cli.stage import stage

            stage(rest)
        elif command in ("derive", "describe", "draw"):
            from lit_nas.cli import genotypes

            getattr(genotypes, command)(rest)
        elif command in ("query", "baseline"):
            from lit_nas.cli import tables

            getattr(tables, command)(rest)
        elif command == "export":
            from lit_nas.cli.export import export

            export(rest)
        elif command == "report":
            from lit_nas.cli.report import report

            report(rest)
        elif command == "ranks":
            from lit_nas.cli.ranks import ranks

            ranks(rest)
        elif command == "workspace":
            from lit_nas.cli.workspace import workspace

            workspace(rest)
        elif command == "correlate":
            from lit_nas.cli.correlate import correlate

            correlate(rest)
        elif command == "latency":
            from lit_nas.cli.latency import latency

            latency(rest)
        elif command == "profile":
            from lit_nas.cli.profile import profile

            profile(rest)
        elif command == "confusion":
            from lit_nas.cli.confusion import confusion

            confusion(rest)
        elif command == "match-depth":
            from lit_nas.cli.match_depth import match_depth

            match_depth(rest)
        else:
            raise ValueError(f"There is no command '{command}'. See `lit-nas --help`.")
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        if os.environ.get("LIT_NAS_TRACEBACK"):
            raise
        sys.stderr.write(f"lit-nas {command}: {_sentence(error)}\n(LIT_NAS_TRACEBACK=1 shows where this was raised.)\n")
        return 2
    except KeyboardInterrupt:  # before a run has begun, which handles it by itself
        sys.stderr.write(f"lit-nas {command}: stopped.\n")
        return 130
    return 0


def _without_imports(args: Sequence[str]) -> list[str]:
    """Imports the modules that `--import` names, and those of the process that has started this one."""
    left, names, words = [], [], iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        if option != "--import":
            left.append(word)
            continue
        name = value if equals else next(words, "")
        if not name or name.startswith("-"):
            raise ValueError("--import needs the dotted name of a module: `--import my_package.operations`.")
        names.append(name)
    if names or os.environ.get("LIT_NAS_IMPORT"):
        from lit_nas.record.own_modules import import_own

        import_own(names)
    return left


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:  # from the system, which has a number for it
        return f"{error.strerror}: '{error.filename}'." if error.filename else f"{error.strerror}."
    return str(error)
