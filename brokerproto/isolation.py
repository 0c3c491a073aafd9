"""One's error is not the next one's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ParamSpec

from attrs import frozen

__all__ = ["Apart", "shown"]

P = ParamSpec("P")


def shown(error: Exception) -> None:
    """Show an error as Python shows one that nobody has caught; go on."""
    sys.excepthook(type(error), error, error.__traceback__)


@frozen
class Apart:
    """Does what may fail, so that nothing else fails with it.

    Args:
        failed: Hears what was raised.
    """

    failed: Callable[[Exception], object]

    def __call__(self, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `function`; whatever it raises, go on."""
        try:
            function(*args, **kwargs)
        except Exception as error:
            self.failed(error)
