from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

from twisted.application.service import MultiService

from services.program.options import Options
from services.program.service import ProgramService

from .conftest import ROOT


class Sample(Options):
    program = "sample"


def test_service_alone_touches_nothing_of_the_process() -> None:
    from twisted.internet import reactor

    before = signal.getsignal(signal.SIGTERM)
    options = Sample({})
    options.parseOptions([])
    service: Any = ProgramService(reactor, options)
    child: Any = MultiService()
    child.setServiceParent(service)
    service.startService()
    assert child.running
    service.stopService()
    assert signal.getsignal(signal.SIGTERM) is before


def test_importing_the_programs_floor_imports_nothing_heavy() -> None:
    script = (
        "import sys, pkgutil, services.program as p\n"
        "for m in pkgutil.iter_modules(p.__path__): __import__(f'services.program.{m.name}')\n"
        "heavy = ('klein', 'OpenSSL', 'twisted.web', 'twisted.internet.reactor')\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"
