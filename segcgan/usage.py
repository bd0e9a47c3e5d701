"""Command lines: what is wrong with one is said in a sentence instead of a page of usage."""

import argparse
from typing import NoReturn

from segcgan.errors import SegcganError, nearest


class Usage(SegcganError):
    """A command line that cannot be understood."""


class Parser(argparse.ArgumentParser):
    """Raises ``Usage`` where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            options = [
                option for action in self._actions for option in action.option_strings if option[:2] == "--"
            ]
            raise Usage(f"{unknown} is unknown{nearest(unknown.split()[0], options)}")
        raise Usage(f"{message}; see {self.prog} --help")


def positive(text: str) -> int:
    """Return a whole number above 0, as the ``type`` of an argument."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
