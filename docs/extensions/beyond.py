"""Links to files of the project that are no pages: a page that is built has nothing to lead to."""

from __future__ import annotations

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata


class LeaveBeyond(SphinxPostTransform):
    """Keep the words of a link to Markdown outside of this folder, and drop the link.

    Where the sources are read, as on a forge, it leads there. A test sees that it does.
    """

    default_priority = 5  # before MyST resolves what is left

    def run(self, **kwargs: object) -> None:
        """Replace them."""
        for node in list(self.document.findall(pending_xref)):
            if node.get("refdomain") == "doc" and node["reftarget"].startswith(("/", "../")):
                node.replace_self(node.children)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Let Sphinx know it."""
    app.add_post_transform(LeaveBeyond)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
