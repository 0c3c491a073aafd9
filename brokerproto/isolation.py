"""One engine's error is not the next one's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

__all__ = ["isolated"]


@contextmanager
def isolated(what: str) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Keep one's error from the next one, and raise them all together at the end.

    Args:
        what: What was done to all, for the text of the error.

    Raises:
        ExceptionGroup: What was raised apart.
    """
    errors: list[Exception] = []

    @contextmanager
    def apart() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            errors.append(error)

    yield apart
    if errors:
        raise ExceptionGroup(f"while {what}", errors)
