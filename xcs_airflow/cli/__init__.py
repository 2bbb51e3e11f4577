"""The command line: `xcs-export` and `xcs`. Modules here import nothing heavy before a command runs."""
