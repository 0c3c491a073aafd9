"""What the pages of the library need beyond autodoc: interfaces, and names as written.

A docstring names a thing as a reader of the code does, `Engine.worked` for
``brokerproto.engine.Engine.worked``, and an argument by its bare name.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any, ClassVar

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata, OptionSpec
from zope.interface.interface import InterfaceClass, Method

_BARE = re.compile(r"[a-z_]+")
_INTERFACE = re.compile(r"<InterfaceClass ([\w.]+)>")


class AutoInterface(SphinxDirective):
    """Describe a zope interface, which is no class that autodoc would know."""

    required_arguments = 1
    option_spec: ClassVar[OptionSpec] = {}

    def run(self) -> list[nodes.Node]:
        """Give the description."""
        module, _, name = self.arguments[0].rpartition(".")
        interface = getattr(import_module(module), name)
        assert isinstance(interface, InterfaceClass), f"{interface} is no interface"
        lines = [f".. py:class:: {name}", f"   :module: {module}", ""]
        lines += self._described(interface.__doc__)
        for part, description in interface.namesAndDescriptions():
            if isinstance(description, Method):
                signature = description.getSignatureString()  # type: ignore[no-untyped-call]
                lines += [f"   .. py:method:: {part}{signature}", ""]
            else:
                lines += [f"   .. py:attribute:: {part}", ""]
            lines += [f"   {line}" for line in self._described(description.__doc__)]
        return self.parse_text_to_nodes("\n".join(lines))

    def _described(self, doc: str) -> list[str]:
        # One of its lines may hold several.
        text = "\n".join(GoogleDocstring(inspect.cleandoc(doc), self.config).lines())
        return [f"   {line}" for line in ["", *text.splitlines(), ""]]


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement
) -> nodes.Element | None:
    """Link a name to the one thing whose full name ends so; let a bare one be."""
    domain = env.domains["py"]
    if node.get("refdomain") != "py":
        return None
    assert isinstance(domain, PythonDomain)
    target = node["reftarget"]
    if interface := _INTERFACE.fullmatch(target):
        target = interface[1]
        shown = nodes.inline("", target.rpartition(".")[2])
    if _BARE.fullmatch(target):
        return shown
    # Attributes have no place of their own; they are listed at their class.
    for sought in (target, target.rpartition(".")[0]):
        found = [name for name in domain.objects if sought and f".{name}".endswith(f".{sought}")]
        if len(found) == 1:
            entry = domain.objects[found[0]]
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, [shown], found[0]
            )
    return shown if interface else None


def as_written(*event: Any) -> tuple[str | None, ...]:
    """Show a signature as the code has it, less what attrs and interfaces put there."""
    *_, signature, returned = event
    return tuple(
        each and _INTERFACE.sub(r"\1", each).replace("= NOTHING", "= ...")
        for each in (signature, returned)
    )


def with_dashes(_app: Sphinx, doctree: nodes.document) -> None:
    """Set a dash between a parameter and its meaning; Sphinx leaves that to smart quotes."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Let Sphinx know both."""
    app.add_directive("autointerface", AutoInterface)
    app.connect("missing-reference", resolve)
    app.connect("doctree-read", with_dashes)
    app.connect("autodoc-process-signature", as_written)
    for field in PythonDomain.directives["class"].doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
