"""The scale test: a broker and its engines run, loaded and judged as a whole."""
