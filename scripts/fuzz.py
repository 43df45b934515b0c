"""Feeds broken bytes to every reader; anything but our own errors is a find.

Usage: python scripts/fuzz.py [TARGET ...]; FUZZ_SECONDS (60) is shared by the targets, FUZZ_FOLDER
(.venv/var/fuzz) keeps the inputs that were found. An input that passed a reader without an error
becomes a seed itself, so that later ones start deeper.
"""

from __future__ import annotations

import io
import os
import random
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import orjson
import pandas as pd
import py7zr

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.frames import tidy
from pokewatch.errors import PokewatchError
from pokewatch.models import prediction_cache
from pokewatch.quality import rules
from pokewatch.settings import PROJECT
from pokewatch.sources import file, responses
from pokewatch.sources.tcgcsv import archive as tcgcsv_archive
from pokewatch.sources.tcgcsv import frames
from pokewatch.watchlist import entries
from pokewatch.watchlist.importers import load

FOLDER = Path(os.environ.get("FUZZ_FOLDER", PROJECT / ".venv" / "var" / "fuzz"))
SECONDS = float(os.environ.get("FUZZ_SECONDS", 60))
NOW = pd.Timestamp("2026-06-30T12:00Z")
KNOWN = Catalog(
    tidy(pd.DataFrame([{"card_id": "7:Normal", "name": "Mew ex", "aliases": ["sv1-7"]}]))
)
FOUND = 77  # exit code of a child whose target an input broke
CORPUS = 500  # seeds kept at once
ANSWER = orjson.dumps(
    {
        "success": True,
        "errors": [],
        "results": [
            {"productId": 7, "subTypeName": "Normal", "marketPrice": 1.5, "lowPrice": None}
        ],
    }
)


def draft(name: str, data: bytes) -> Path:
    """Return a file that holds these bytes."""
    path = FOLDER / str(os.getpid()) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def counted(observations: pd.DataFrame) -> None:
    """Check that no received row is lost on the way to the verdict."""
    rows = rules.normalise(observations, "file", NOW)
    assert len(rows) == len(observations)
    usable = rows[rows["problem"] == ""]
    assert (usable["market_price"] > 0).all()
    assert usable[["card_id", "date"]].notna().all(axis=None)


def read_json(data: bytes) -> None:
    """Read an answer of tcgcsv."""
    try:
        rows = frames.answer_rows(responses.decoded(data))
    except ValueError:
        return
    observations, cards = frames.price_frames(rows, date(2026, 6, 30), NOW, [])
    assert len(observations) == len(rows)
    assert cards["card_id"].is_unique
    counted(observations)
    tidy(cards)


def read_csv(data: bytes) -> None:
    """Read a CSV file of prices."""
    delivery = file.fetch(draft("prices.csv", data), on=date(2026, 6, 30))
    counted(delivery.observations)
    tidy(delivery.cards)


def read_collection(data: bytes) -> None:
    """Read a collection app's export."""
    load(draft("export.csv", data), KNOWN)


def read_watchlist(data: bytes) -> None:
    """Read a watchlist."""
    entries.load(draft("watchlist.yaml", data))


def read_7z(data: bytes) -> None:
    """Read an archive of tcgcsv."""
    counted(tcgcsv_archive.read_archive(draft("prices-2026-06-30.7z", data), [3]).observations)


def read_text(data: bytes) -> None:
    """Read what is one line: a card, a stored prediction, Retry-After."""
    text = data.decode("utf-8", "replace")
    found = prediction_cache.parse(data)
    assert found is None or found >= 0
    seconds = responses.retry_after(text)
    assert seconds is None or seconds >= 0
    KNOWN.search(text)
    assert KNOWN.resolve(text) == "7:Normal"


def archive() -> bytes:
    """Return a small archive."""
    buffer = io.BytesIO()
    ppmd = [{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 20}]
    with py7zr.SevenZipFile(buffer, "w", filters=ppmd) as packed:
        packed.writestr(ANSWER, "2026-06-30/3/604/prices")
    return buffer.getvalue()


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "json": (read_json, [ANSWER]),
    "csv": (
        read_csv,
        [
            b"card_id,date,market_price,low_price,collected_at,name\n"
            b'7:Normal,2026-06-30,1.5,,2026-06-30T20:05Z,"Mew, ex"\n',
            b"product_id,printing,date,market_price\n7,Normal,2026/06/30,nan\n",
        ],
    ),
    "collection": (
        read_collection,
        [
            b"Name,Set,Number,Quantity,Condition,Cost\nMew ex,Base,7/9,2,NM,$1.50\n",
            b"sep=;\nproduct id;qty;price paid\n7;1.000;1.234,50\n",
        ],
    ),
    "watchlist": (read_watchlist, [b"- {card: '7:Normal', quantity: 2, cost: 1.5, note: x}\n"]),
    "7z": (read_7z, [archive()]),
    "text": (
        read_text,
        [b"sv01-007:Normal", b"mew ex 7/9 holo", b'{"fair_price": 1.5}', b"120",
         datetime(2026, 7, 1, tzinfo=UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").encode()],
    ),
}  # fmt: skip


def attempt(name: str, data: bytes) -> bool:
    """Run one input; our own errors are the right answer to a broken one. Return if it passed."""
    try:
        TARGETS[name][0](data)
    except PokewatchError:
        return False
    return True


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with a few changed, doubled, cut out or put in."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, end = sorted(rng.randint(0, len(out)) for _ in range(2))
        what = rng.randrange(4)
        if what == 0 and out:
            out[min(at, len(out) - 1)] = rng.randrange(256)
        elif what == 1:
            out[at:end] = b""
        elif what == 2:
            out[at:at] = out[at:end][:200]
        else:
            tokens = [b"\0", b'"', b"\n", b"NaN", b"-1", b"1e999", b"{", b"[", b"\xff", b"9" * 20]
            out[at:at] = rng.choice(tokens)
    return bytes(out)


def blind(name: str, seconds: float) -> int:
    """Mutate seeds for a while; return how many inputs were run."""
    rng, runs, end = random.Random(), 0, time.monotonic() + seconds
    seeds = list(TARGETS[name][1])
    while time.monotonic() < end:
        data = mutated(rng.choice(seeds), rng)
        try:
            if attempt(name, data) and len(data) < 4096:
                if len(seeds) < CORPUS:
                    seeds.append(data)
                else:
                    seeds[rng.randrange(len(TARGETS[name][1]), CORPUS)] = data
        except BaseException:
            (FOLDER / f"crash-{name}-{runs}").write_bytes(data)
            traceback.print_exc()
            sys.exit(FOUND)
        runs += 1
    return runs


def main() -> int:
    """Run each target in a process of its own, print the figures, return 1 after a find."""
    names = sys.argv[1:] or list(TARGETS)
    share, broken = max(1.0, SECONDS / len(names)), 0
    for name in names:
        began = time.monotonic()
        child = subprocess.run(
            [sys.executable, __file__, "--one", name, str(share)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        said = child.stdout + child.stderr
        runs = re.search(r"^runs (\d+)$", said, re.MULTILINE)
        count = int(runs[1]) if runs else 0
        print(f"{name}: {count:,} runs in {time.monotonic() - began:.0f} s", end="")
        print(f", FOUND, see {FOLDER}\n{said[-4000:]}" if child.returncode else ", nothing found")
        sys.stdout.flush()
        broken += child.returncode != 0
    return int(broken > 0)


def one(name: str, seconds: float) -> None:
    """Run one target in this process."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    print(f"runs {blind(name, seconds)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], float(sys.argv[3]))
    else:
        sys.exit(main())
