"""Tell a person how a step ended: in the log always, through apprise where it is set up."""

from __future__ import annotations

import logging

from pokewatch.operations.notify import Recipients, send

__all__ = ["Recipients", "failed", "finished", "send"]

log = logging.getLogger("pokewatch.pipeline")


def failed(exception: BaseException | None = None) -> None:
    """Say which step failed and why; ZenML calls it after the last try of a step."""
    cause = " ".join(f"{type(exception).__name__}: {exception}".split()) if exception else "?"
    text = f"{_step()} failed: {cause[:500]}"
    log.error(text)
    send("PokeWatch: the night failed", text, failed=True)


def finished() -> None:
    """Say that the night is done; ZenML calls it after a report was written."""
    text = f"{_step()} done: the new report is written"
    log.info(text)
    send("PokeWatch: the night is done", text)


def _step() -> str:
    from zenml import get_step_context

    try:
        return str(get_step_context().step_run.name)
    except RuntimeError:  # called outside a run
        return "a step"
