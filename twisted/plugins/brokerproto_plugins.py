"""Make ``twistd broker`` and ``twistd engine`` known."""

import sys
from importlib.util import find_spec
from os.path import dirname, join, realpath
from typing import Any

from twisted.application.service import ServiceMaker

_SERVICES = join(dirname(dirname(dirname(realpath(__file__)))), "services")


class _Program(ServiceMaker):
    """A program in `services`: a name that somebody else's package may have too."""

    def __init__(self, program: str, description: str) -> None:
        ServiceMaker.__init__(self, program, f"services.{program}.plugin", description, program)

    @property
    def options(self) -> Any:
        """The program's options; one sentence and status 78 if they are not ours."""
        try:
            spec = find_spec("services")
        except (ImportError, ValueError):
            spec = None
        found = [*(spec.submodule_search_locations or [str(spec.origin)])] if spec else []
        if _SERVICES not in map(realpath, found):
            place = ", ".join(map(ascii, found)) or "no place"
            sys.stderr.write(
                f"{self.tapname}: the package 'services' found at {place} is not brokerproto's,"
                f" which is at {_SERVICES!a}: put its directory first on the Python path\n"
            )
            raise SystemExit(78)
        return super().options


broker = _Program("broker", "Hold a fleet of engines and give them work.")
engine = _Program("engine", "Register with a broker and do its work.")
