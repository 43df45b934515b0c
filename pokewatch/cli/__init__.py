"""The command line: each command is one call into the package plus its printing."""
