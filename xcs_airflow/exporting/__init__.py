"""Where plans become files: the promise of an exporter, its bundle, and the writer."""
