"""The HTTP client against a local server: patience, politeness, limits and clear messages."""

from __future__ import annotations

import itertools
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pandas as pd
import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pokewatch import __version__
from pokewatch.errors import SourceError
from pokewatch.quality import rules
from pokewatch.settings import Settings, load_settings
from pokewatch.sources import http
from pokewatch.sources.http import Client
from pokewatch.sources.responses import NotFoundError, StoppedError


class Pauses(list[float]):
    """Stands in for sleeping and the clock: every pause is noted and passes at once."""

    now = 1000.0

    def wait(self, seconds: float) -> None:
        self.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


def settings(**overrides: object) -> Settings:
    values = {"request_interval": 0, "request_attempts": 3, "request_timeout": 5, "contact": ""}
    return load_settings(**(values | overrides))


@pytest.fixture
def client(httpserver: HTTPServer, pauses: Pauses) -> Iterator[Client]:
    with Client(
        httpserver.url_for("/"), settings(), wait=pauses.wait, clock=pauses.clock
    ) as client:
        yield client


def answers(httpserver: HTTPServer, *responses: Response) -> list[Request]:
    """Serve the responses one after the other, the last for ever; return the requests seen."""
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return responses[min(len(seen), len(responses)) - 1]

    httpserver.expect_request("/data").respond_with_handler(handler)
    return seen


def cut_short() -> Response:
    response = Response(b'{"a": [1, 2')
    response.headers["Content-Length"] = "1000"
    return response


OK = b'{"a": 1}'


def test_json_and_text_are_returned(httpserver: HTTPServer, client: Client) -> None:
    seen = answers(httpserver, Response(OK))
    assert client.get_json("/data", params={"q": "x y"}) == {"a": 1}
    assert client.get_text("/data") == '{"a": 1}'
    assert seen[0].args["q"] == "x y"


def test_a_path_in_the_base_url_is_kept(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/mirror/data").respond_with_data(OK)
    with Client(httpserver.url_for("/mirror"), settings()) as client:
        assert client.get_json("/data") == {"a": 1}


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        ("me@example.org", f"PokeWatch/{__version__} (+me@example.org)"),
        ("", f"PokeWatch/{__version__}"),
        ("zoë\r\nX-Bad: 1", f"PokeWatch/{__version__} (+zoX-Bad: 1)"),
    ],
)
def test_the_user_agent_names_program_and_contact(
    httpserver: HTTPServer, contact: str, expected: str
) -> None:
    seen = answers(httpserver, Response(OK))
    with Client(httpserver.url_for("/"), settings(contact=contact)) as client:
        client.get_json("/data")
    assert seen[0].headers["User-Agent"] == expected
    assert "X-Bad" not in seen[0].headers


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_passing_failure_is_tried_again(
    httpserver: HTTPServer, client: Client, pauses: Pauses, status: int
) -> None:
    seen = answers(httpserver, Response(status=status), Response(OK))
    assert client.get_json("/data") == {"a": 1}
    assert len(seen) == 2
    assert len(pauses) == 1
    assert 0 <= pauses[0] <= http.BACKOFF_CAP


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("600", http.RETRY_AFTER_CAP, http.RETRY_AFTER_CAP),
        (format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True), 0, 1),
        ("soon", 0, 1),
        ("-5", 0, 1),
    ],
    ids=["seconds", "none", "longest", "past date", "words", "negative"],
)
def test_retry_after_is_honoured(
    httpserver: HTTPServer, client: Client, pauses: Pauses, value: str, low: float, high: float
) -> None:
    answers(httpserver, Response(status=429, headers={"Retry-After": value}), Response(OK))
    client.get_json("/data")
    assert len(pauses) == 1
    assert low <= pauses[0] <= high


@pytest.mark.parametrize("value", ["86400", "Tue, 01 Jan 2999 00:00:00 GMT"])
def test_a_service_that_wants_hours_of_peace_gets_them(
    httpserver: HTTPServer, client: Client, pauses: Pauses, value: str
) -> None:
    seen = answers(httpserver, Response(status=429, headers={"Retry-After": value}))
    for _ in range(2):
        with pytest.raises(StoppedError, match=r"left alone for [\d,]{5,} minutes; run it again"):
            client.get_json("/data")
    assert len(seen) == 1
    assert pauses == []


def test_the_hours_of_peace_hold_for_other_clients_of_the_home(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    url, config = httpserver.url_for("/"), settings(home=tmp_path)
    seen = answers(httpserver, Response(status=429, headers={"Retry-After": "3600"}), Response(OK))
    with Client(url, config) as client, pytest.raises(StoppedError, match="for 60 minutes"):
        client.get_json("/data")
    with Client(url, config) as client, pytest.raises(StoppedError, match="for 60 more minutes"):
        client.get_json("/data")
    assert len(seen) == 1
    with (
        time_machine.travel(datetime.now(UTC) + timedelta(seconds=3601)),
        Client(url, config) as it,
    ):
        assert it.get_json("/data") == {"a": 1}
    for damaged in (b"", b"\xff", b"soon", b"inf", b"nan", b"9e99"):
        (note,) = (tmp_path / "requests").iterdir()
        note.write_bytes(damaged)
        with Client(url, config) as client:
            assert client.get_json("/data") == {"a": 1}


@pytest.mark.parametrize("answered", [b"{", b"<html>", 429, 500])
def test_after_many_failures_in_a_row_it_asks_no_more(
    httpserver: HTTPServer, client: Client, answered: bytes | int
) -> None:
    bad = Response(answered) if isinstance(answered, bytes) else Response(status=answered)
    good, missing = Response(OK), Response(status=404)
    seen = answers(httpserver, *[bad] * 27, good, *[bad] * 27, missing, bad)
    failures = 0
    while not client.stopped:
        with suppress(SourceError):
            client.get_json("/data")
        failures += 1
    assert failures == 9 + 1 + 9 + 1 + http.FAILURES_IN_A_ROW  # an answer begins the count anew
    asked = len(seen)
    with pytest.raises(StoppedError, match="10 requests in a row failed, no more are sent"):
        client.get_json("/data")
    assert len(seen) == asked


def test_a_failure_of_many_minutes_ends_it_too(
    httpserver: HTTPServer, client: Client, pauses: Pauses
) -> None:
    answers(httpserver, Response(status=503, headers={"Retry-After": "600"}))
    with pytest.raises(SourceError, match="answered 503"):
        client.get_json("/data")
    assert sum(pauses) == 1200
    assert client.stopped


def test_a_refused_key_is_named_by_its_setting_and_not_tried_on(
    httpserver: HTTPServer, pauses: Pauses
) -> None:
    seen = answers(httpserver, Response(status=401))
    headers = {"X-Api-Key": "s3cret"}
    with Client(
        httpserver.url_for("/"), settings(), headers, key_setting="POKEWATCH_SOME_KEY"
    ) as client:
        for _ in range(2):
            with pytest.raises(StoppedError, match=r"\(401\); check POKEWATCH_SOME_KEY") as caught:
                client.get_json("/data")
            assert "s3cret" not in str(caught.value)
    assert len(seen) == 1


def test_the_limits_of_a_minute_and_a_day_are_kept(
    httpserver: HTTPServer, pauses: Pauses, tmp_path: Path
) -> None:
    seen = answers(httpserver, Response(OK))
    with Client(
        httpserver.url_for("/"),
        settings(home=tmp_path),
        per_minute=3,
        per_day=7,
        wait=pauses.wait,
        clock=pauses.clock,
    ) as client:
        for _ in range(5):
            client.get_json("/data")
        pauses.now += 25
        client.get_json("/data")
        client.get_json("/data")
        with pytest.raises(StoppedError, match="7 requests that the service allows in a day"):
            client.get_json("/data")
    assert pauses == pytest.approx([60, 35])
    assert len(seen) == 7


ASK = """
import sys
from pokewatch.errors import SourceError
from pokewatch.settings import load_settings
from pokewatch.sources.http import Client
config = load_settings(home=sys.argv[2], request_interval=0, request_attempts=1)
with Client(sys.argv[1], config, per_day=10) as client:
    for _ in range(6):
        try:
            client.get_json("/data")
        except SourceError as error:
            print(error)
"""


def test_a_day_s_requests_are_counted_for_all_processes_of_a_home(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    seen = answers(httpserver, Response(OK))
    command = [sys.executable, "-c", ASK, httpserver.url_for("/"), str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    refused = "".join(process.communicate()[0] for process in running)
    assert len(seen) == 10
    assert refused.count("10 requests that the service allows in a day are used up") == 3 * 6 - 10
    tomorrow = time_machine.travel(datetime.now(UTC) + timedelta(days=1))
    with tomorrow, Client(httpserver.url_for("/"), settings(home=tmp_path), per_day=10) as client:
        client.get_json("/data")
    assert len(seen) == 11
    assert len(list((tmp_path / "requests").iterdir())) == 1


def test_a_service_known_to_be_slow_gets_its_time(httpserver: HTTPServer) -> None:
    quick = settings(request_timeout=0.001, request_attempts=1)
    httpserver.expect_request("/data").respond_with_handler(
        lambda _: (threading.Event().wait(0.1), Response(OK))[1]
    )
    url = httpserver.url_for("/")
    with Client(url, quick) as client, pytest.raises(SourceError, match="no answer within"):
        client.get_json("/data")
    with Client(url, quick, timeout=20) as client:
        assert client.get_json("/data") == {"a": 1}


def test_an_unknown_host_is_explained(pauses: Pauses) -> None:
    with (
        Client("http://nowhere.invalid", settings(), wait=pauses.wait) as client,
        pytest.raises(SourceError, match=r"host name is not known here .*check the network"),
    ):
        client.get_json("/data")


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
    tmp_path: Path, pauses: Pauses
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    write_certificate(key, certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(ssl_context=context) as server:
        seen = answers(server, Response(OK))
        with (
            Client(server.url_for("/"), settings(), wait=pauses.wait) as client,
            pytest.raises(SourceError, match=r"not trusted \(self-signed .*SSL_CERT_FILE"),
        ):
            client.get_json("/data")
    assert seen == []
    assert pauses == []


def write_certificate(key: Path, certificate: Path) -> None:
    """Write a self-signed certificate of localhost."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(private, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    certificate.write_bytes(built.public_bytes(encoding))
    key.write_bytes(
        private.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def test_endless_and_huge_answers_end(httpserver: HTTPServer, client: Client) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"[" * 2**16

    seen = answers(httpserver, Response(endless()), Response(b"\x00garbage" * 1_250_000))
    with pytest.raises(SourceError, match="larger than 16 MB and was refused"):
        client.get_json("/data")
    with pytest.raises(SourceError, match="malformed or cut short"):
        client.get_json("/data")
    assert len(seen) == 4


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400])
def test_what_is_no_price_comes_as_such_and_costs_nothing_beside_it(
    httpserver: HTTPServer, client: Client, number: str
) -> None:
    seen = answers(httpserver, Response(f'[{{"market": {number}}}, {{"market": 1.5}}]'))
    bad, good = client.get_json("/data")
    assert good == {"market": 1.5}
    refused = rules.parse_numbers(pd.Series([bad["market"]], dtype="object"))
    assert refused.isna().all()
    assert str(bad["market"]) == {"1e999": "inf"}.get(number, number)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"market": NaN',
        b'{"market": nan}',
        b'{"market": 1.5,}',
        b"{'market': 1.5}",
        b'{"market": NaN, "name": "\\ud800"}',
        b'{"market": NaN, "name": "\xff"}',
        b'{"market": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        '{"market": NaN}'.encode("utf-16"),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_json_that_is_none_is_malformed(
    httpserver: HTTPServer, client: Client, body: bytes
) -> None:
    answers(httpserver, Response(body))
    with pytest.raises(SourceError, match="malformed"):
        client.get_json("/data")


def test_a_date_in_retry_after_counts_from_now(
    httpserver: HTTPServer, client: Client, pauses: Pauses
) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    answers(httpserver, Response(status=503, headers={"Retry-After": moment}), Response(OK))
    client.get_json("/data")
    assert 240 < pauses[0] <= 300


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418])
def test_a_lasting_failure_is_asked_once(
    httpserver: HTTPServer, client: Client, pauses: Pauses, status: int
) -> None:
    seen = answers(httpserver, Response(status=status))
    with pytest.raises(SourceError, match=rf"/data: .*{status}") as caught:
        client.get_json("/data")
    assert len(seen) == 1
    assert pauses == []
    assert isinstance(caught.value, NotFoundError) == (status == 404)


def test_it_gives_up_after_the_set_number_of_tries(
    httpserver: HTTPServer, client: Client, pauses: Pauses
) -> None:
    seen = answers(httpserver, Response(status=500))
    with pytest.raises(SourceError, match=r"answered 500 \(3 tries\); run again later"):
        client.get_json("/data")
    assert len(seen) == 3
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: Response(b'{"a": '), "malformed or cut short"),
        (lambda: Response(b""), "malformed or cut short"),
        (lambda: Response(b"\xff\xfe"), "malformed or cut short"),
        (lambda: Response(b"\n<html>Just a moment</html>"), "web page instead of JSON"),
        (cut_short, "the connection failed"),
        (lambda: Response(b"no gzip", headers={"Content-Encoding": "gzip"}), "connection failed"),
    ],
)
def test_an_unusable_body_is_asked_for_again_then_explained(
    httpserver: HTTPServer, client: Client, bad: object, message: str
) -> None:
    seen = answers(httpserver, bad(), Response(OK), bad(), bad(), bad())  # type: ignore[operator]
    assert client.get_json("/data") == {"a": 1}
    assert len(seen) == 2
    with pytest.raises(SourceError, match=message):
        client.get_json("/data")
    assert len(seen) == 5


def test_a_silent_service_times_out(httpserver: HTTPServer, pauses: Pauses) -> None:
    done = threading.Event()
    calls = []

    def silent(_: Request) -> Response:
        calls.append(1)
        done.wait(10)
        return Response(OK)

    httpserver.expect_request("/data").respond_with_handler(silent)
    quick = settings(request_timeout=0.05, request_attempts=1)
    try:
        with (
            Client(httpserver.url_for("/"), quick, wait=pauses.wait) as client,
            pytest.raises(SourceError, match=r"no answer within 0.05 s \(1 try\)"),
        ):
            client.get_json("/data")
    finally:
        done.set()
    assert len(calls) == 1


def test_a_trickling_answer_ends(httpserver: HTTPServer) -> None:
    answers(httpserver, Response(OK))
    ticks = itertools.count(step=100)  # every look at the clock finds 100 s gone
    with (
        Client(
            httpserver.url_for("/"), settings(request_attempts=1), clock=lambda: float(next(ticks))
        ) as client,
        pytest.raises(SourceError, match="too slowly"),
    ):
        client.get_json("/data")


def test_nobody_listening_is_a_source_error(pauses: Pauses) -> None:
    with (
        Client("http://127.0.0.1:9", settings(), wait=pauses.wait) as client,
        pytest.raises(SourceError, match="the connection failed"),
    ):
        client.get_json("/data")
    assert len(pauses) == 2


@pytest.mark.parametrize("url", ["tcgcsv.com", "ftp://tcgcsv.com", "http://a\tb"])
def test_an_address_that_cannot_be_asked_is_not_tried_again(url: str, pauses: Pauses) -> None:
    def ask() -> None:
        with Client(url, settings(), wait=pauses.wait) as client:
            client.get_json("/data")

    with pytest.raises(SourceError, match=r"correct the service's URL"):
        ask()
    assert pauses == []


def test_the_interval_lies_between_any_two_requests(httpserver: HTTPServer, pauses: Pauses) -> None:
    answers(httpserver, Response(OK))
    with Client(
        httpserver.url_for("/"), settings(request_interval=30), wait=pauses.wait, clock=pauses.clock
    ) as client:
        client.get_json("/data")
        client.get_json("/data")
        pauses.now += 12
        client.get_json("/data")
        pauses.now += 40
        client.get_json("/data")
    assert pauses == pytest.approx([30, 18])


def test_an_oversize_answer_is_refused(
    httpserver: HTTPServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "JSON_LIMIT", 1000)
    monkeypatch.setattr(http, "ARCHIVE_LIMIT", 1000)
    seen = answers(httpserver, Response(b'"' + b"x" * 2000 + b'"'))
    with pytest.raises(SourceError, match="larger than"):
        client.get_json("/data")
    with pytest.raises(SourceError, match="larger than"):
        client.download("/data", tmp_path / "big")
    assert len(seen) == 2
    assert list(tmp_path.iterdir()) == []


def test_messages_hold_no_secret(httpserver: HTTPServer, pauses: Pauses) -> None:
    answers(httpserver, Response(status=401), Response(status=500))
    url = httpserver.url_for("/").replace("http://", "http://user:hunter2@")
    with Client(url, settings(), headers={"X-Api-Key": "s3cret"}, wait=pauses.wait) as client:
        for _ in range(2):
            with pytest.raises(SourceError) as caught:
                client.get_json("/data", params={"token": "t0ken"})
            assert httpserver.host in str(caught.value)
            for secret in ("hunter2", "s3cret", "t0ken"):
                assert secret not in str(caught.value)


def test_a_key_is_not_carried_over_a_redirect(httpserver: HTTPServer, pauses: Pauses) -> None:
    answers(httpserver, Response(status=302, headers={"Location": httpserver.url_for("/other")}))
    httpserver.expect_request("/other").respond_with_data(OK)
    base = httpserver.url_for("/")
    with Client(base, settings(), wait=pauses.wait) as client:
        assert client.get_json("/data") == {"a": 1}
    with (
        Client(base, settings(), headers={"X-Api-Key": "k"}, wait=pauses.wait) as client,
        pytest.raises(SourceError, match="302"),
    ):
        client.get_json("/data")


def test_a_download_appears_only_when_complete(
    httpserver: HTTPServer, client: Client, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "prices.7z"
    seen_early = []

    def body() -> Iterator[bytes]:
        yield b"a" * 100_000
        seen_early.append(target.exists())
        yield b"b" * 100_000

    httpserver.expect_request("/data").respond_with_handler(lambda _: Response(body()))
    assert client.download("/data", target) == target
    assert target.read_bytes() == b"a" * 100_000 + b"b" * 100_000
    assert seen_early == [False]
    assert [path.name for path in target.parent.iterdir()] == ["prices.7z"]


def test_an_interrupted_download_leaves_nothing(
    httpserver: HTTPServer, client: Client, tmp_path: Path
) -> None:
    seen = answers(httpserver, cut_short())
    with pytest.raises(SourceError, match="the connection failed"):
        client.download("/data", tmp_path / "prices.7z")
    assert len(seen) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_retried_download_starts_afresh(
    httpserver: HTTPServer, client: Client, tmp_path: Path
) -> None:
    answers(httpserver, cut_short(), Response(OK))
    client.download("/data", tmp_path / "prices.7z")
    assert (tmp_path / "prices.7z").read_bytes() == OK


def test_a_target_that_cannot_be_written_is_named(
    httpserver: HTTPServer, client: Client, tmp_path: Path
) -> None:
    answers(httpserver, Response(OK))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SourceError, match=r"prices\.7z' could not be written"):
        client.download("/data", tmp_path / "file" / "prices.7z")
