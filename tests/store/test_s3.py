"""The store on an S3-compatible object store: moto's server, a process of its own on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pandas as pd
import pytest
from builders import curve, delivery, market

from pokewatch.errors import StoreError, UsageError
from pokewatch.evaluation import predictions as predicting
from pokewatch.operations import status as states
from pokewatch.quality.ingest import ingest
from pokewatch.report import page as report
from pokewatch.settings import Settings, load_settings
from pokewatch.store import s3
from pokewatch.store.tables import COMPACT_ABOVE_FILES, Store

BUCKET = "bucket"


@dataclass(frozen=True)
class Server:
    """A running server that checks signatures, and the keys of the only user it knows."""

    url: str
    key: str
    secret: str

    def objects(self, prefix: str) -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", [])]

    @property
    def client(self):
        return self.open("s3", self.key, self.secret)

    def open(self, service: str, key: str, secret: str):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log.txt").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=log,
        stderr=log,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(port):
            assert process.poll() is None, Path(log.name).read_text("utf-8")
        anyone = Server(url, "anyone", "anything")
        anyone.client.create_bucket(Bucket=BUCKET)
        users = anyone.open("iam", "anyone", "anything")
        users.create_user(UserName="night")
        rights = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rights]})
        users.put_user_policy(UserName="night", PolicyName="all", PolicyDocument=policy)
        keys = users.create_access_key(UserName="night")["AccessKey"]
        check_from_now = urllib.request.Request(
            f"{url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(check_from_now).close()
        yield Server(url, keys["AccessKeyId"], keys["SecretAccessKey"])
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.fixture
def config(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings with a store of the test's own in the bucket."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret)
    name = request.node.originalname
    return load_settings(home=tmp_path / "home", store=f"s3://{BUCKET}/{name}/", tracking=False)


def test_a_night_on_the_object_store_leaves_no_table_at_home(config, server):
    store = Store.from_settings(config)
    rows = delivery(market(30, 60), curve("bad:Normal", [9.0, 0.0]))
    first = ingest(store, rows, config)
    again = ingest(store, rows, config)
    assert (first.accepted, first.quarantined, first.unchanged) == (1801, 1, 0)
    assert (again.accepted, again.quarantined, again.unchanged) == (0, 0, 1802)
    assert again.data_version == first.data_version == 1
    status = states.status(config)
    assert status["store"] == f"s3://{BUCKET}/{store.root.rpartition('/')[2]}"
    assert (status["observations"], status["cards"]) == (1801, 31)
    predicted = predicting.predict_all(config)
    assert len(store.predictions()) == len(predicted) == 31 * 4
    page = report.write_report(config).read_text("utf-8")
    assert "26:Normal" in page
    tables = {key.split("/")[1] for key in server.objects(store.root.rpartition("/")[2])}
    assert tables == {"prices", "cards", "quarantine", "predictions"}
    assert not tables & {path.name for path in config.home.iterdir()}


def test_an_earlier_state_is_read_by_its_data_version(config):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0, 5.1])), config)
    old = store.data_version
    ingest(store, delivery(curve("1:Normal", [5.2], start="2025-01-03")), config)
    assert len(store.prices()) == 3
    assert len(store.prices(data_version=old)) == 2
    with pytest.raises(UsageError, match=r"data version 9 .* newest is 2"):
        store.prices(data_version=9)


def test_small_files_are_compacted_and_no_row_is_lost(config):
    store = Store.from_settings(config)
    nights = COMPACT_ABOVE_FILES + 1
    for night in range(nights):
        row = curve("1:Normal", [5.0], start=f"2025-01-{night + 1:02}", source="file")
        empty = dict.fromkeys(["low_price", "mid_price", "high_price", "volume", "accepted_at"])
        store.upsert(store.snapshot("prices"), row.assign(**empty))
    assert len(store.snapshot("prices").handle.file_uris()) == nights
    store.maintain("prices")  # nothing keeps two processes apart here: not by itself
    assert len(store.snapshot("prices").handle.file_uris()) == nights
    store.compact("prices")
    assert len(store.snapshot("prices").handle.file_uris()) == 1
    assert len(store.prices()) == nights
    assert len(store.prices(data_version=3)) == 3


def test_simulated_and_real_prices_are_not_mixed(config):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0])), config)
    with pytest.raises(UsageError, match="holds real prices"):
        ingest(store, delivery(curve("2:Normal", [5.0]), source="simulated"), config)


WRITER = textwrap.dedent(
    """
    import sys
    import pandas as pd
    from builders import curve, delivery
    from pokewatch.quality.ingest import ingest
    from pokewatch.settings import load_settings
    from pokewatch.store.tables import Store

    config = load_settings(store=sys.argv[1])
    for day in pd.date_range("2025-01-01", periods=4).strftime("%Y-%m-%d"):
        ingest(Store.from_settings(config), delivery(curve(sys.argv[2], [5.0], start=day)), config)
    """
)


def test_two_writers_at_once_lose_and_double_nothing(config):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, config.store, card],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for card in ("1:Normal", "2:Normal")
    ]
    said = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], said
    stored = Store.from_settings(config).prices()
    assert len(stored) == 8
    assert not stored.duplicated(["card_id", "date"]).any()


READER = textwrap.dedent(
    """
    import sys
    from pokewatch.store.tables import Store

    batches = Store(sys.argv[1]).snapshot("prices").dataset.to_batches()
    next(iter(batches))
    print("read")
    """
)


def test_a_process_may_end_in_the_middle_of_reading(config):
    store = Store.from_settings(config)
    days = pd.date_range("2025-01-01", periods=8, freq="MS")
    rows = pd.concat(curve(f"{card}:Normal", [5.0]) for card in range(50)).assign(source="file")
    many = pd.concat([rows] * 400).assign(low_price=1.0, mid_price=1.0, high_price=1.0, volume=1)
    many["accepted_at"] = many["collected_at"]
    frames = [many.assign(date=day) for day in days]
    store.replace(store.snapshot("prices"), pd.concat(frames), None)
    done = subprocess.run(
        [sys.executable, "-c", READER, store.root], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "read\n"), done.stderr


def test_a_lost_log_is_an_error_not_an_empty_store(config, server):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0])), config)
    for key in server.objects(f"{store.root.rpartition('/')[2]}/prices/_delta_log"):
        server.client.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(StoreError, match="no readable Delta log"):
        store.prices()


def test_a_lost_file_is_named(config, server):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0])), config)
    for key in server.objects(f"{store.root.rpartition('/')[2]}/prices/month"):
        server.client.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(StoreError, match=r"version 1 cannot be read: its file 'month=.*restore it"):
        store.prices()


def both_ways(config: Settings) -> Iterator[str]:
    """Yield what reading and writing are refused with."""
    store = Store.from_settings(config)
    rows = delivery(curve("1:Normal", [5.0]))
    for attempt in (store.prices, lambda: ingest(store, rows, config)):
        with pytest.raises(StoreError) as error:
            attempt()
        yield str(error.value)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_said_without_showing_them(config, monkeypatch, name):
    monkeypatch.setenv(name, "canary-of-a-wrong-one")
    for said in both_ways(config):
        assert "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in said
        assert "canary" not in said
        assert "\n" not in said
        assert "\x1b" not in said


def test_keys_that_turn_wrong_after_opening_are_said_too(config, monkeypatch):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0])), config)
    snapshot = store.snapshot("prices")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-a-wrong-one")
    with pytest.raises(StoreError, match=r"cannot be read: .* check AWS_ACCESS_KEY_ID") as error:
        store.prices(snapshot=snapshot)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("text", ["file is 403 bytes", "row 401 of 1692542", "status 4031"])
def test_other_errors_blame_no_credentials(text):
    assert s3.remedy(OSError(text), "other") == "other"


@pytest.mark.parametrize(
    "text",
    [
        "Client error with status 403 Forbidden",
        "When reading 'x': AWS Error UNKNOWN (HTTP status 401) during HeadObject",
        "error sending request for url (http://169.254.169.254/latest/api/token)",
    ],
)
def test_refused_credentials_are_known_by_the_status(text):
    assert "AWS_ACCESS_KEY_ID" in s3.remedy(OSError(text), "other")


def test_a_missing_bucket_is_said(config):
    elsewhere = config.model_copy(update={"store": "s3://nobody/prices"})
    for said in both_ways(elsewhere):
        assert "NoSuchBucket" in said
        assert "create the bucket, or correct POKEWATCH_STORE" in said


def test_a_server_that_is_away_is_said(config, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(StoreError, match="does not answer: check AWS_ENDPOINT_URL") as error:
            Store.from_settings(config).prices()
    assert "\n" not in str(error.value)


def test_http_must_be_allowed(config, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(StoreError, match="set AWS_ALLOW_HTTP=true, or use https"):
        Store.from_settings(config).prices()


@pytest.mark.parametrize("store", ["ftp://bucket/prices", "http://127.0.0.1/bucket", "s3://"])
def test_other_urls_are_refused(store):
    with pytest.raises(UsageError, match="is no place for tables"):
        Store.from_settings(load_settings(store=store))


def test_credentials_in_the_url_are_refused_and_not_shown():
    with pytest.raises(UsageError, match="put them into AWS_ACCESS_KEY_ID") as error:
        Store("s3://key:canary@bucket/prices")
    assert "canary" not in str(error.value)
