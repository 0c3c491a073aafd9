"""Command line and environment of a program, from one table of options."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, ClassVar, NoReturn

from attrs import Attribute, field, frozen
from twisted.copyright import version as twisted_version
from twisted.python import usage

from . import log_output, twistd_files
from .log_limits import LogCounts
from .start import fail
from .values import OneOf, WholeNumber, quoted, yes_or_no

# What Kubernetes sets in every container for a Service named X: X_PORT is
# "tcp://10.0.0.1:1337", which nobody who configures a program ever meant.
_SERVICE_LINK = re.compile(
    r".+_(PORT|SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_NARROWEST = 60
_READABLE = 1000
_SEPARATORS = re.compile(r"[\s,]+")


def _no_service_link(_option: object, _field: Attribute[str | None], env: str | None) -> None:
    if env is not None and _SERVICE_LINK.fullmatch(env):
        raise ValueError(f"{env} is a name that Kubernetes sets for a Service's address")


@frozen(kw_only=True)
class Option:
    """One option of a program: all that there is to know about it.

    Attributes:
        name: The long name, as in ``--name``.
        doc: One sentence or two for ``--help``, without default and variable.
        parse: Reads the text; raises ValueError with a sentence. Unused for a flag.
        default: As the user would write it; None is no default. Several values
            of a repeatable option are separated as in the environment.
        env: The environment variable that replaces the default, or None. Never
            a name that Kubernetes may set for a Service, such as ``BROKER_PORT``.
        metavar: What ``--help`` calls the value; derived from `parse` if empty.
        repeatable: May be given again; the value is a tuple. The variable holds
            several, separated by whitespace or commas.
        flag: Takes no value; is True or False.
    """

    name: str
    doc: str
    parse: Callable[[str], Any] = str
    default: str | None = None
    env: str | None = field(default=None, validator=_no_service_link)
    metavar: str = ""
    repeatable: bool = False
    flag: bool = False

    @property
    def usage_name(self) -> str:
        """The option as ``--help`` shows it, without its hyphens."""
        if self.flag:
            return self.name
        if self.metavar:
            return f"{self.name}={self.metavar}"
        if isinstance(self.parse, OneOf):
            return f"{self.name}={'|'.join(self.parse.words)}"
        return f"{self.name}={'N' if isinstance(self.parse, WholeNumber) else 'TEXT'}"

    @property
    def full_doc(self) -> str:
        """The sentence, and where the value comes from if it is not given."""
        sources = []
        if self.default is not None:
            sources.append(f"default: {self.default}")
        if self.env is not None:
            sources.append(f"env {self.env}")
        return f"{self.doc} [{', '.join(sources)}]" if sources else self.doc

    def values(self, text: str) -> Any:
        """Read what the environment or the table says.

        Raises:
            ValueError: The text is no value of this option.
        """
        if self.flag:
            return yes_or_no(text)
        if self.repeatable:
            return tuple(self.value(part) for part in _SEPARATORS.split(text) if part)
        return self.value(text)

    def value(self, text: str) -> Any:
        """Read one value.

        Raises:
            ValueError: The text is no value; the message quotes it.
        """
        try:
            return self.parse(text)
        except ValueError as error:
            problem = str(error)
            if text not in problem and quoted(text) not in problem:
                problem = f"{quoted(text)}: {problem}"
            raise ValueError(problem) from None


class Options(usage.Options):
    """The options of one program, as ``twistd`` and ``twist`` take them.

    A subclass states `program`, `longdesc` and `table`; checks that concern
    several options go into `postOptions`, after a call of this class's own,
    and raise UsageError. Values are items: ``options["log-format"]``. The
    command line wins over the environment, and this over the default; a value
    that is not used is not read either.

    Every mistake of the user ends the process with one line and status 78.

    Attributes:
        program: The subcommand's name. It begins every line about a mistake.
        table: The options, in any order. ``--log-format`` is added to them.
        environ: The environment that is read.
        log_counts: What becomes of the lines of the program's log.
    """

    program: ClassVar[str] = "program"
    table: ClassVar[Sequence[Option]] = ()
    longdesc: ClassVar[str] = ""
    compData: ClassVar[usage.Completions]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        log_format = Option(
            name="log-format",
            doc="Log text, as twistd does by default, or one JSON object per line.",
            parse=OneOf(("text", "json")),
            env=f"{cls.program.upper()}_LOG_FORMAT",
        )
        if log_format.name not in [option.name for option in cls.table]:
            cls.table = (*cls.table, log_format)
        for option in cls.table:
            setattr(cls, f"opt_{option.name.replace('-', '_')}", _taker(option))
        cls.compData = usage.Completions(
            multiUse=[option.name for option in cls.table if option.repeatable],
            optActions={option.name: _completer(option) for option in cls.table if not option.flag},
        )

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        usage.Options.__init__(self)
        self.environ = environ
        self.log_counts = LogCounts()

    @property
    def twistd(self) -> usage.Options | None:
        """The options of ``twistd`` itself, where it runs this program."""
        return self.parent if self.parent is not None and "nodaemon" in self.parent else None

    @property
    def twist(self) -> usage.Options | None:
        """The options of ``twist`` itself, where it runs this program."""
        return self.parent if self.twistd is None else None

    def opt_help(self) -> NoReturn:
        """Display this help and exit."""
        print(self)  # noqa: T201
        sys.exit(0)

    def opt_version(self) -> NoReturn:
        """Display the versions and exit."""
        try:
            version = metadata.version("brokerproto")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        print(f"brokerproto {version}, Twisted {twisted_version}")  # noqa: T201
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line and the environment.

        Raises:
            SystemExit: With status 78, after one line, for any mistake in them.
        """
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            # An unknown option is quoted as it came, which may be without end.
            problem = str(error)[:_READABLE]
            command = "twistd" if self.twist is None else "twist"
            fail(self.program, f"{problem} (try: {command} {self.program} --help)")
        if self.twistd is not None:
            twistd_files.settle(self.program, self.twistd)
        if self.twist is not None:
            log_output.take_over_twist(
                self.program, self["log-format"], self.twist, self.log_counts
            )

    def parseArgs(self, *arguments: str) -> None:
        """Refuse what is no option.

        Raises:
            UsageError: There is such an argument.
        """
        if arguments:
            raise usage.UsageError(f"{quoted(arguments[0])} is one argument too many")

    def postOptions(self) -> None:
        """Fill in what the command line left open.

        Raises:
            UsageError: A variable's value cannot be read.
        """
        for option in self.table:
            if option.name not in self:
                self[option.name] = self._elsewhere(option)

    def getUsage(self, width: int | None = None) -> str:
        """Give the body of ``--help``."""
        width = max(width or shutil.get_terminal_size().columns, _NARROWEST)
        rows = [{"long": option.usage_name, "doc": option.full_doc} for option in self.table]
        rows.append({"long": "help", "doc": self.docs["help"]})
        rows.append({"long": "version", "doc": self.docs["version"]})
        return f"\n{self.longdesc}\n\nOptions:\n" + "".join(usage.docMakeChunks(rows, width))

    def _elsewhere(self, option: Option) -> Any:
        text = self.environ.get(option.env, "") if option.env is not None else ""
        # An empty variable is how many a tool spells one that is not set.
        if text.strip():
            try:
                return option.values(text)
            except ValueError as error:
                raise usage.UsageError(f"{option.env}: {error}") from None
        if option.default is not None:
            return option.values(option.default)
        return () if option.repeatable else False if option.flag else None


def _completer(option: Option) -> usage.Completer:
    # Without one, the shell offers the names of files.
    if isinstance(option.parse, OneOf):
        return usage.CompleteList(option.parse.words)
    return usage.Completer(descr=option.metavar or option.name)


def _taker(option: Option) -> Callable[..., None]:
    """Make the method that takes `option` from the command line."""

    def take_flag(self: Options) -> None:
        self[option.name] = True

    def take(self: Options, text: str) -> None:
        try:
            value = option.value(text)
        except ValueError as error:
            raise usage.UsageError(f"--{option.name}: {error}") from None
        self[option.name] = (*self.get(option.name, ()), value) if option.repeatable else value

    taker = take_flag if option.flag else take
    taker.__doc__ = option.full_doc
    return taker
