"""Tell a person how a step ended: in the log always, through apprise where it is set up."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from pokewatch.settings import Settings

log = logging.getLogger("pokewatch.pipeline")


class Recipients(BaseSettings):
    """``POKEWATCH_NOTIFY``: apprise URLs, parted by commas or spaces; they hold credentials."""

    model_config = SettingsConfigDict(
        env_prefix="POKEWATCH_", env_file=Settings.model_config["env_file"], extra="ignore"
    )

    notify: SecretStr = SecretStr("")

    def urls(self) -> list[str]:
        """Return the URLs; a comma inside one does not part it."""
        text = self.notify.get_secret_value().strip(" ,")
        return re.split(r"[,\s]+(?=[A-Za-z][\w+.-]*://)", text) if text else []


def send(title: str, text: str, failed: bool = False) -> bool:
    """Send a note to every recipient; False where one was not reached. Nothing is raised."""
    urls = Recipients().urls()
    if not urls:
        return True
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would log parts of the URLs
    sender = apprise.Apprise()
    unknown = [_kind(url) for url in urls if not sender.add(url)]
    kind = apprise.NotifyType.FAILURE if failed else apprise.NotifyType.SUCCESS
    try:
        reached = bool(len(sender)) and sender.notify(body=text, title=title, notify_type=kind)
    except Exception as error:  # a note that fails must not fail the night
        log.warning("the note could not be sent: %s", type(error).__name__)
        return False
    if unknown or not reached:
        log.warning("POKEWATCH_NOTIFY: not every note arrived (%s)", _kinds(urls))
    return not unknown and bool(reached)


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


def _kind(url: str) -> str:
    return url.partition("://")[0]


def _kinds(urls: Sequence[str]) -> str:
    return ", ".join(sorted({_kind(url) for url in urls}))
