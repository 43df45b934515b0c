from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import curve, market
from typer.main import get_command

from pokewatch.cli.main import build_app, log_handler, main
from pokewatch.cli.rendering import show
from pokewatch.schema import PREDICTION_COLUMNS
from pokewatch.settings import PROJECT, get_settings

pytestmark = pytest.mark.slow

README = PROJECT / "README.md"
QUIET = {"NO_COLOR": "1", "POKEWATCH_TRACKING": "false"}


def run(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from pokewatch.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | QUIET | {"POKEWATCH_HOME": str(home)} | environment,
        check=False,
    )


def answer(home: Path, *arguments: str, code: int = 0):
    done = run(home, *arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def inside(monkeypatch, capsys) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Function that runs a command as ``run`` does, in this process: what is imported stays so."""

    def run_here(
        home: Path, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            for name, value in (QUIET | {"POKEWATCH_HOME": str(home)} | environment).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["pokewatch", *arguments])
            get_settings.cache_clear()
            with pytest.raises(SystemExit) as ended:
                main()
        return subprocess.CompletedProcess([], int(ended.value.code or 0), *capsys.readouterr())

    yield run_here
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    rows = pd.concat([market(30, 160, momentum=0.8), curve("bad:Normal", [9.0, 0.0])])
    rows["tcgdex_id"] = "sim-" + rows["card_id"].str.split(":").str[0]
    rows["name"] = "Card " + rows["card_id"].str.split(":").str[0]
    rows.to_parquet(folder / "prices.parquet")
    first = answer(folder, "collect", "--source", "file", "--path", str(folder / "prices.parquet"))
    assert (first["received"], first["accepted"], first["quarantined"]) == (4802, 4801, 1)
    trained = answer(folder, "train")
    assert trained["champion"] is True
    return folder


def test_collecting_again_changes_nothing(home):
    path = str(home / "prices.parquet")
    again = answer(home, "collect", "--source", "file", "--path", path)
    assert (again["accepted"], again["quarantined"], again["unchanged"]) == (0, 0, 4802)
    assert again["data_version"] == 1


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_predictions_are_written_in_the_order_of_the_contract(home, tmp_path, ending):
    path = tmp_path / f"p.{ending}"
    done = run(home, "predict", "--all", "--horizon", "7", "--horizon", "30", "--output", str(path))
    assert done.returncode == 0, done.stderr
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv, "json": pd.read_json}[ending]
    frame = read(path)
    assert list(frame.columns) == PREDICTION_COLUMNS
    assert len(frame) == 2 * 31
    assert sorted(frame["horizon"].unique()) == [7, 30]
    optional = ["reason", "p_rise", "p_fall"]  # chances need a past that tells them
    assert frame.drop(columns=optional).notna().all().all()


def test_cards_are_found_by_id_and_alias(home):
    rows = answer(home, "predict", "3:Normal", "sim-4", "--horizon", "7")
    assert [row["card_id"] for row in rows] == ["3:Normal", "4:Normal"]
    assert rows[0]["lower"] <= rows[0]["fair_value"] <= rows[0]["upper"]
    found = answer(home, "cards", "card 29")
    assert [(row["card_id"], row["aliases"]) for row in found] == [("29:Normal", ["sim-29"])]
    assert found[0]["last_date"] == "2025-06-09"


def test_a_horizon_named_twice_is_one(home):
    assert len(answer(home, "predict", "3:Normal", "--horizon", "7", "--horizon", "7")) == 1


def test_a_forecast_for_an_earlier_day_uses_that_days_price(home):
    rows = answer(home, "predict", "3:Normal", "--date", "2025-03-01", "--horizon", "7")
    prices = pd.read_parquet(home / "prices.parquet").set_index(["card_id", "date"])
    assert rows[0]["date"] == "2025-03-01"
    assert rows[0]["market_price"] == prices.loc[("3:Normal", "2025-03-01"), "market_price"]


def test_status_shows_what_there_is(home):
    found = answer(home, "status")
    assert found["cards"] == 31
    assert found["last_date"] == "2025-06-09"
    assert found["quarantined"] == {"price_not_positive": 1}
    assert found["champion"]["rmae_high"] < 1
    assert found["data_version"] == 1


def test_a_backtest_shows_the_model_beside_naive(home, tmp_path):
    path = tmp_path / "f.parquet"
    found = answer(home, "backtest", "--horizon", "7", "--horizon", "200", "--output", str(path))
    assert [row["model"] for row in found["scores"]] == ["fair_value", "naive", "baseline"]
    assert found["unscored_horizons"] == [200]
    assert {"month", "price_band", "kind"} == set(found["by"])
    assert {"card_id", "date", "y", "y_hat", "model"} <= set(pd.read_parquet(path).columns)


def test_the_quarantine_can_be_listed_released_and_dropped(tmp_path):
    rows = pd.concat([curve("1:Normal", [10.0, 10.0, 45.0]), curve("2:Normal", [3.0, 0.0])])
    rows.to_csv(tmp_path / "p.csv", index=False)
    collect = ("collect", "--source", "file", "--path", str(tmp_path / "p.csv"))
    answer(tmp_path, *collect)
    listed = {row["reason"]: row for row in answer(tmp_path, "quarantine", "list")}
    assert set(listed) == {"jump", "price_not_positive"}
    refused = run(tmp_path, "quarantine", "release", listed["price_not_positive"]["quarantine_id"])
    assert refused.returncode == 2
    assert "cannot be released" in refused.stderr
    assert run(tmp_path, "quarantine", "release").returncode == 2
    assert answer(tmp_path, "quarantine", "release", "--reason", "jump")["rows"] == 1
    bad = listed["price_not_positive"]["quarantine_id"][:8]
    assert answer(tmp_path, "quarantine", "drop", bad)["rows"] == 1
    assert answer(tmp_path, "quarantine", "list") == []
    again = answer(tmp_path, *collect)
    assert (again["accepted"], again["quarantined"], again["unchanged"]) == (0, 0, 5)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["collect", "--source", "ebay"], 2, "unknown source 'ebay'"),
        (["collect", "--source", "file"], 2, "--path"),
        (["collect", "--map", "price"], 2, "OURS=THEIRS"),
        (["predict"], 2, "name the cards to predict, or say --all"),
        (["predict", "nobody"], 2, "unknown card 'nobody'"),
        (["predict", "--all", "--output", "p.xlsx"], 2, "must end in .parquet, .csv, .json"),
        (["predict", "--all", "--date", "03/01/2025"], 2, "write it as YYYY-MM-DD"),
        (["predict", "--all", "--horizon", "3"], 2, "choose among [1, 7, 14, 30]"),
        (["predict", "--all", "--date", "1999-01-01"], 2, "no prices are stored up to 1999"),
        (["train", "--data-version", "77"], 2, "data version 77"),
        (["predict", "--all", "--model", "nobody"], 2, "unknown model 'nobody'"),
        (["backfill", "--since", "2025-02-31"], 2, "no day of the calendar"),
        (["backfill"], 2, "--since is missing: name the first day, or say --watchlist"),
        (["backfill", "--watchlist", "--since", "2025-01-01"], 2, "--watchlist takes no --since"),
        (["backfill", "--watchlist"], 2, "needs a key: set POKEWATCH_POKEMONPRICETRACKER_KEY"),
        (["nonsense"], 2, "No such command"),
        (["quarantine", "list", "--reason", "why"], 2, "unknown reason 'why'"),
    ],
)
def test_wrong_requests_exit_2_and_say_what_to_mend(home, inside, arguments, code, message):
    done = inside(home, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_setting_is_named(tmp_path):
    done = run(tmp_path, "status", POKEWATCH_FEE="lots")
    assert done.returncode == 2
    assert "POKEWATCH_FEE='lots'" in done.stderr


def test_a_gate_that_says_no_exits_3(tmp_path):
    market(30, 12).to_csv(tmp_path / "p.csv", index=False)
    answer(tmp_path, "collect", "--source", "file", "--path", str(tmp_path / "p.csv"))
    done = run(tmp_path, "train", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["champion"] is False
    assert "is no champion" in done.stderr


@pytest.mark.parametrize("value", ["", "tcgdex"])
def test_a_list_that_is_no_json_is_named_with_the_form(home, value):
    done = run(home, "status", POKEWATCH_FALLBACK=value)
    assert done.returncode == 2
    assert "setting POKEWATCH_FALLBACK" in done.stderr
    assert '["one", "two"]' in done.stderr


def test_simulated_and_real_prices_are_never_mixed(home):
    done = run(home, "collect", "--source", "simulated")
    assert done.returncode == 2
    assert "set POKEWATCH_HOME to another folder" in done.stderr


def commands() -> dict[str, Any]:
    """Return every command of the app by its full name, in the order of ``--help``."""

    def walk(group: Any, before: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, f"{before}{name} ")
            else:
                yield before + name, command

    return dict(walk(get_command(build_app()), ""))


def shown_by_help(home: Path, *group: str) -> list[str]:
    """Return the names in the panels of commands of ``--help``, those of groups in full."""
    done = run(home, *group, "--help", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    panels = re.split(r"^╭─ (.+?) ─+╮$", done.stdout, flags=re.M)[1:]
    names: list[str] = []
    for title, rows in zip(panels[::2], panels[1::2], strict=True):
        if title != "Options":
            names += re.findall(r"^│ (\S+)", rows, re.M)
    assert "" not in names
    return [" ".join([*group, name]) for name in names]


def test_help_and_the_readme_list_every_command_once(home):
    listed = shown_by_help(home)
    for group in ("watch", "keys"):
        at = listed.index(group)
        listed[at : at + 1] = shown_by_help(home, group)
    table = re.search(r"^\| command \|.*?\n\n", README.read_text(encoding="utf-8"), re.M | re.S)
    assert table
    first_column = re.findall(r"^\| (`.+?`) \|", table[0], re.M)
    documented = [name for row in first_column for name in re.findall(r"`(.+?)`", row)]
    assert listed == documented == list(commands())


def test_every_command_explains_itself():
    for name, command in commands().items():
        assert command.help, name
        for parameter in command.params:
            assert parameter.help or parameter.name == "help", f"{name} {parameter.name}"


def test_people_read_amounts_in_their_currency_and_programs_in_dollars(home, tmp_path, inside):
    run = inside
    listed = tmp_path / "watchlist.yaml"
    listed.write_text("- {card: '1:Normal', cost: 2, target_above: 9000}\n", encoding="utf-8")
    kept = {"day": "2025-06-30", "asked": "2025-07-01T03:00:00+00:00", "rates": {"USD": 1.25}}
    (home / "rates.json").write_text(json.dumps(kept), encoding="utf-8")
    try:
        watched = {"POKEWATCH_CURRENCY": "eur", "POKEWATCH_WATCHLIST": str(listed)}
        commands = (["cards"], ["predict", "1:Normal"], ["watch", "list"])
        for command in commands:
            shown = run(home, *command, **watched)
            assert "€" in shown.stdout
            assert "1 USD = 0.8 EUR" in shown.stderr
            known = run(home, *command, POKEWATCH_WATCHLIST=str(listed))
            assert "€" not in known.stdout + known.stderr
            assert "$" not in known.stdout
            told = run(home, *command, "--json", **watched)
            expected = run(home, *command, "--json", POKEWATCH_WATCHLIST=str(listed))
            assert (told.stdout, told.stderr) == (expected.stdout, expected.stderr)
        assert "€7,200.00" in run(home, "watch", "list", **watched).stdout
        out = tmp_path / "out.csv"
        assert run(home, "predict", "1:Normal", "--output", str(out), **watched).returncode == 0
        assert out.read_text().startswith(",".join(PREDICTION_COLUMNS[:4]))
        assert "€" not in out.read_text()
    finally:
        (home / "rates.json").unlink()
    without = run(home, "cards", POKEWATCH_CURRENCY="EUR")
    assert "€" not in without.stdout
    assert "no rate of EUR is known yet" in without.stderr
    wrong = run(home, "cards", POKEWATCH_CURRENCY="DOGE")
    assert wrong.returncode == 2
    assert "POKEWATCH_CURRENCY='DOGE'" in wrong.stderr
    dead = run(
        home, "rates", POKEWATCH_ECB_URL="http://127.0.0.1:9", POKEWATCH_REQUEST_ATTEMPTS="1"
    )
    assert dead.returncode == 1
    assert "the connection failed" in dead.stderr


def test_what_stops_a_command_is_one_line_and_an_exit_code(home):
    code = (
        "import sys; from pokewatch.cli.main import main; from pokewatch.operations import status\n"
        "def stop(*_): raise {error}\n"
        "status.status = stop; sys.argv = ['pokewatch', 'status']; main()"
    )
    for error, exit_code, words in [
        ("KeyboardInterrupt", 1, "interrupted: what was committed stays"),
        ("ValueError('two\\nlines')", 1, "unexpected ValueError: two lines; POKEWATCH_DEBUG=1"),
        ("ValueError('\\x1b[2Jx\\x9b')", 1, "unexpected ValueError: [2Jx ; POKEWATCH_DEBUG=1"),
    ]:
        done = subprocess.run(
            [sys.executable, "-c", code.replace("{error}", error)],
            capture_output=True,
            text=True,
            env=os.environ | QUIET | {"POKEWATCH_HOME": str(home)},
            check=False,
        )
        assert done.returncode == exit_code
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {words}")


def test_tables_show_texts_as_they_are_without_signs_that_a_terminal_acts_on(capsys):
    frame = pd.DataFrame({"name": ["[bold]:fire:\x1b[2J\ntwo"], "usd": [1234.5]})
    show(frame, False, frame, {"path": "/[x]/\x1b"})
    out = capsys.readouterr().out
    assert "[bold]:fire: [2J two" in out
    assert "1,234.50" in out
    assert "path  /[x]/ \n" in out


def test_what_services_tell_reaches_log_and_terminal_without_such_signs(capsys):
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "a\x1b]0;b\nERROR c"})
    assert log_handler().format(record) == "INFO x: a ]0;b ERROR c"
    show(None, False, "\ncheck: \x1b[2J\x07down")
    assert capsys.readouterr().out == "\ncheck:  [2J down\n"


def test_json_has_plain_values_and_null_for_what_is_missing(capsys):
    days = pd.to_datetime(["2025-01-02T10:00:00", None])
    frame = pd.DataFrame(
        {
            "day": days,
            "utc": days.tz_localize("UTC"),
            "usd": [1.5, np.inf],
            "copies": pd.array([3, None], dtype="Int64"),
            "aliases": [np.array(["a", "ü"]), []],
            "other": [pd.Timestamp("2025-01-02"), np.int64(7)],
        }
    )
    show(frame, True)
    show({"rmae": np.float64("nan"), "passed": np.bool_(True), "by": {7: (1, 2)}}, True)
    out = capsys.readouterr().out
    first, second = out[: out.index('{\n "rmae')], out[out.index('{\n "rmae') :]
    assert json.loads(first) == [
        {
            "day": "2025-01-02",
            "utc": "2025-01-02",
            "usd": 1.5,
            "copies": 3,
            "aliases": ["a", "ü"],
            "other": "2025-01-02",
        },
        {"day": None, "utc": None, "usd": None, "copies": None, "aliases": [], "other": 7},
    ]
    assert "ü" in first
    assert json.loads(second) == {"rmae": None, "passed": True, "by": {"7": [1, 2]}}


def test_the_version_is_answered_without_heavy_imports(tmp_path):
    code = (
        "import sys; sys.argv = ['pokewatch', '--version'];"
        "from pokewatch.cli.main import main; main();"
        "sys.exit(any(name in sys.modules for name in ('pandas', 'typer', 'pydantic')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("pokewatch ")
