"""The command line. Verbs that need no network (info, report, --help) import no torch."""

import argparse
import logging
import os
import select
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from segcgan import __version__
from segcgan.errors import SegcganError, nearest, system_error
from segcgan.usage import Parser, Usage, positive

TRAINING = {
    "fit": "train everything a config asks for",
    "validate": "score a run on its validation cases",
    "test": "score a run on its test cases",
}
OTHERS = {
    "predict": "masks for a folder of images",
    "refine": "correct masks that somebody else made",
    "info": "what is this file, or which configs are there",
    "report": "rebuild the HTML report of a run",
    "compare": "is one run better than another, case by case",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 ok, 1 failed, 2 wrong usage."""
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if words and words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        words.insert(0, "fit")  # python train.py --config X
    _log_to_stderr(debug)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return 141  # as a program that the signal ended: head has read enough
    except SegcganError as error:
        if debug:
            raise
        told = str(error).rpartition("SegcganError: ")[2].strip()  # of a loader process it is the end of a traceback
        print(f"error: {told}", file=sys.stderr)
        return 2 if isinstance(error, Usage) else 1
    except OSError as error:  # a full disk, a folder that may not be written
        if debug:
            raise
        print(f"error: {system_error(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command again goes on where it stopped", file=sys.stderr)
        return 130


def _reader_is_gone() -> bool:
    """Tell whether stdout is a pipe that nobody reads any more; what is left to say then goes nowhere."""
    if not hasattr(select, "poll"):
        return False
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    if gone := any(state & select.POLLERR for _, state in asked.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _dispatch(words: list[str]) -> int:
    verbs = TRAINING | OTHERS
    if not words or words[0] in ("-h", "--help"):
        lines = "\n".join(f"  {verb:10s}{text}" for verb, text in verbs.items())
        print(
            f"usage: segcgan VERB [options]\n\n{lines}\n\nsegcgan VERB --help tells more; --debug shows tracebacks."
        )
        return 0
    if words[0] == "--version":
        print(f"segcgan {__version__}")
        return 0
    if words[0] not in verbs:
        raise Usage(f"{words[0]!r} is no command{nearest(words[0], verbs)}")
    handler: Callable[[list[str]], int] = globals()[f"_{'train' if words[0] in TRAINING else words[0]}"]
    return handler(words if words[0] in TRAINING else words[1:])


def _train(words: list[str]) -> int:
    verb, rest = words[0], words[1:]
    if not rest or "-h" in rest or "--help" in rest:
        print(
            f"usage: segcgan {verb} --config NAME.yaml [--section.key value …]\n\n{TRAINING[verb]}\n\n"
            "NAME.yaml is a path or the name of a config (segcgan info lists them). A further --config changes what\n"
            "the first says, e.g. --config refiners/cgan.yaml; and any key can be set:\n"
            "  --plan.refiner_epochs 20   --data.images.root FOLDER   --trainer.devices 2   --model.lr 1e-4"
        )
        return 0 if rest else 2
    names, overrides = _split_configs(rest)
    for name in names:
        import_module("segcgan.about").find_config(name)  # a misspelt name is told before torch is imported
    header, lines = import_module("segcgan.tasks.command").command(verb, names, overrides)
    _print_table(header, lines)
    return 0


def _split_configs(words: list[str]) -> tuple[list[str], list[str]]:
    """Take every ``--config NAME`` (also ``-c``, and with ``=``) out of a command line."""
    names, others, left = [], [], list(words)
    while left:
        option, equals, value = (word := left.pop(0)).partition("=")
        if option not in ("--config", "-c"):
            others.append(word)
        elif equals or left:
            names.append(value if equals else left.pop(0))
    if not names:
        raise Usage("no config was given; give one with --config NAME.yaml (segcgan info lists them)")
    return names, others


def _predict(words: list[str]) -> int:
    chosen = _folder_parser("predict", "Masks for every image below a folder.").parse_args(words)
    chosen.coarse = None
    return _masks(chosen, "predicted")


def _refine(words: list[str]) -> int:
    parser = _folder_parser(
        "refine", "Correct masks that somebody else made: X.* for image X, label values or probabilities."
    )
    parser.add_argument("-c", "--coarse", type=Path, required=True, help="folder of the masks to refine")
    parser.add_argument("--labels", default="", help='label values of classes, e.g. "liver=5|6;tumour=2"')
    return _masks(parser.parse_args(words), "refined")


def _folder_parser(verb: str, description: str) -> Parser:
    parser = Parser(f"segcgan {verb}", allow_abbrev=False, description=description)
    parser.add_argument(
        "-i", "--input", type=Path, required=True, help="folder (or file) of DICOM, NIfTI, GeoTIFF, PNG"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for masks and predictions.csv")
    parser.add_argument("-m", "--model", type=Path, required=True, help="run folder, e.g. runs/ct_liver/latest")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    parser.add_argument("--samples", type=positive, default=8, help="masks drawn by a stochastic refiner")
    parser.add_argument("--strip", type=positive, default=2**22, help="pixels in memory at a time")
    parser.add_argument("--uncertainty", action="store_true", help="also write <stem>_uncertainty.*: entropy, 0 to 1")
    parser.add_argument("--no-gate", action="store_true", help="keep every refined mask")
    parser.add_argument("--overwrite", action="store_true", help="do again what is already there")
    return parser


def _masks(chosen: argparse.Namespace, done_word: str) -> int:
    rows = import_module("segcgan.inference.command").command(chosen)
    failed = sum(row.status == "failed" for row in rows)
    done = sum(row.status == "ok" for row in rows)
    others = f"{failed} failed, {len(rows) - done - failed} skipped"
    print(f"{done} {done_word}, {others}; see {chosen.output}/predictions.csv")
    return 1 if failed or not done else 0


def _info(words: list[str]) -> int:
    parser = Parser("segcgan info", allow_abbrev=False, description="Describe images, or list the configs.")
    parser.add_argument("path", type=Path, nargs="?", help="file or folder; without it the configs are listed")
    chosen = parser.parse_args(words)
    module = import_module("segcgan.about")
    header, lines, bad = module.describe(chosen.path) if chosen.path else module.configs()
    _print_table(header, lines)
    return 1 if bad else 0


def _report(words: list[str]) -> int:
    parser = Parser(
        "segcgan report", allow_abbrev=False, description="Rebuild report.html from the files of a run."
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/ct_liver/latest")
    chosen = parser.parse_args(words)
    for run in (chosen.run, chosen.run / "latest"):
        if (run / "run.json").is_file():
            print(import_module("segcgan.report.page").write_run_report(run.resolve()))
            return 0
    raise SegcganError(f"{chosen.run} is no run: it holds no run.json; give a folder like runs/<config>/latest")


def _compare(words: list[str]) -> int:
    parser = Parser(
        "segcgan compare",
        allow_abbrev=False,
        description="Paired comparison of two runs, or of two masks of one run. RUN may be several, with commas: "
        "their scores are averaged over seeds.",
    )
    parser.add_argument("first", metavar="RUN_A", help="run folder(s)")
    parser.add_argument("second", metavar="RUN_B", help="run folder(s)")
    parser.add_argument("--pair", nargs=2, action="append", metavar=("A", "B"), help="a further pair, of other data")
    parser.add_argument("--split", choices=("test", "val"), default="test")
    parser.add_argument("--variant-a", help="coarse, refined or chosen (by the gate, if there is one)")
    parser.add_argument("--variant-b", help="as --variant-a")
    parser.add_argument("--empty", type=float, default=1.0, metavar="SCORE", help="of rightly empty masks; nan = none")
    parser.add_argument("-o", "--output", help="folder for the JSON file and pictures; RUN_B/compare if not given")
    table, sentences = import_module("segcgan.report.comparison").command(parser.parse_args(words))
    _print_table(*table)
    for sentence in sentences:
        print(sentence)
    return 0


def _print_table(header: list[str], lines: list[list[str]]) -> None:
    if not header:
        return
    if not sys.stdout.isatty():
        for line in [header, *lines]:
            print("\t".join(line))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header)
    for line in lines:
        table.add_row(*map(Text, line))  # not markup: paths and reasons may hold [brackets]
    Console(no_color="NO_COLOR" in os.environ).print(table)


def _log_to_stderr(debug: bool) -> None:
    log = logging.getLogger("segcgan")
    handler = logging.StreamHandler()  # a new one each time: sys.stderr may have been redirected since
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.DEBUG if debug else logging.INFO)  # debug: the traceback of a failed case
    log.propagate = False
    warnings.filterwarnings("ignore", module="pydicom")  # about values that are judged where they matter


if __name__ == "__main__":
    raise SystemExit(main())
