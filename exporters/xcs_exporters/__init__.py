"""Built-in exporters, found by entry point like a stranger's."""
