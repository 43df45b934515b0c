"""Errors that reach a person: each message names the thing, the value and the mend."""


class PokewatchError(Exception):
    """Something failed; the command line exits with ``exit_code``."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows in place of a traceback (IPython's own hook)."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(PokewatchError):
    """The request itself is wrong: an unknown name, a bad value, a missing option."""

    exit_code = 2


class GateError(PokewatchError):
    """A gate said no: coverage floor, quality or model gate."""

    exit_code = 3


class StoreError(PokewatchError):
    """The price store cannot be read or written."""


class SourceError(PokewatchError):
    """A price source failed or answered with something unusable."""
