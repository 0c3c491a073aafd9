"""The documentation, and what makes it: the pages are Markdown, read by Sphinx."""
