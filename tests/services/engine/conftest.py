"""The reactor that the tests of an engine run on."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor

    return reactor
