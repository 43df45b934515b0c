"""Keys are shown once, kept as hashes for their owner only, and stop at once."""

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.service import keys as keys_
from pokewatch.service.keys import Keys
from pokewatch.settings import load_settings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.delenv("API_KEYS", raising=False)
    return load_settings(home=tmp_path / "home", _env_file=None)


def test_a_key_is_kept_as_its_hash_and_for_its_owner_only(settings):
    text = Keys(settings).create("shop", ["read"])
    kept = (settings.home / "keys.json").read_text()
    assert text not in kept
    assert hashlib.sha256(text.encode()).hexdigest() in kept
    for path in settings.home.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert len(text) > 43  # 256 bits in base64


def test_a_key_is_known_by_whoever_reads_the_file_later(settings):
    reader = Keys(settings)
    assert reader.check(b"pw_nothing") is None
    text = Keys(settings).create("shop", ["portfolio", "read"]).encode()
    found = reader.check(text)
    assert (found.name, found.scopes) == ("shop", ("read", "portfolio"))
    assert reader.check(text[:-1]) is None
    assert reader.check(b"") is None


def test_a_revoked_and_a_rotated_key_open_nothing_at_once(settings):
    keys, reader = Keys(settings), Keys(settings)
    old = keys.create("shop", ["read"]).encode()
    assert reader.check(old)
    new = keys.rotate("shop").encode()
    assert (reader.check(old), reader.check(new).name) == (None, "shop")
    keys.revoke("shop")
    assert reader.check(new) is None
    assert [one["state"] for one in keys.listed()] == ["revoked", "revoked"]
    assert not keys.any_active()


def test_a_key_expires(settings):
    keys = Keys(settings)
    text = keys.create("shop", ["read"], days=30).encode()
    assert keys.check(text)
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(days=31)):
        assert keys.check(text) is None
        assert keys.listed()[0]["state"] == "expired"


@pytest.mark.parametrize("change", ["revoke", "rotate"])
def test_a_name_means_its_active_key_and_not_one_that_expired(settings, change):
    keys = Keys(settings)
    keys.create("shop", ["read"], days=90)
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(days=91)):
        text = keys.create("shop", ["read"]).encode()
        getattr(keys, change)("shop")
        assert keys.check(text) is None


def test_last_used_is_noted_and_no_hash_is_listed(settings):
    keys = Keys(settings)
    text = keys.create("shop", ["read"])
    assert keys.listed()[0]["last_used"] is None
    keys.check(text.encode())
    keys.note_used()
    (one,) = Keys(settings).listed()
    assert one["last_used"] >= one["created"]
    assert "digest" not in one
    assert text not in json.dumps(one)


@pytest.mark.parametrize("error", [PokewatchError, PermissionError])
def test_a_use_that_could_not_be_noted_is_noted_the_next_time(settings, monkeypatch, error):
    keys = Keys(settings)
    keys.check(keys.create("shop", ["read"]).encode())

    def full(*_):
        raise error("no space left")

    with monkeypatch.context() as disk:
        disk.setattr(keys_, "_write", full)
        keys.note_used()
    keys.note_used()
    assert keys.listed()[0]["last_used"]


@pytest.mark.parametrize(
    ("name", "scopes", "message"),
    [
        ("", ["read"], "1 to 64"),
        ("a\nb", ["read"], "printable"),
        ("shop", ["write"], "unknown scope 'write': choose among read, portfolio, admin"),
    ],
)
def test_what_cannot_be_made_is_refused(settings, name, scopes, message):
    with pytest.raises(UsageError, match=message):
        Keys(settings).create(name, scopes)


def test_a_name_is_there_once_and_unknown_ones_are_told(settings):
    keys = Keys(settings)
    keys.create("shop", ["read"])
    with pytest.raises(UsageError, match="a key 'shop' already"):
        keys.create("shop", ["read"])
    with pytest.raises(UsageError, match="unknown key 'shap': there are shop"):
        keys.revoke("shap")


def test_keys_made_at_once_are_all_kept(settings):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: Keys(settings).create(f"k{n}", ["read"]), range(12)))
    assert len(Keys(settings).listed()) == 12


def test_a_damaged_file_lets_nobody_in_and_is_told(settings):
    keys = Keys(settings)
    text = keys.create("shop", ["read"]).encode()
    (settings.home / "keys.json").write_text("{")
    for ask in (lambda: keys.check(text), keys.listed):
        with pytest.raises(PokewatchError, match=r"keys.json"):
            ask()


def test_the_first_systems_variable_is_read_with_a_warning(settings, monkeypatch, caplog):
    monkeypatch.setenv("API_KEYS", "old-one, old-two")
    with caplog.at_level(logging.WARNING):
        keys = Keys(load_settings(home=settings.home, _env_file=None))
    assert keys.check(b"old-two").scopes == ("read",)
    assert keys.check(b"") is None
    assert "pokewatch keys create" in caplog.text
    assert "old-two" not in caplog.text
