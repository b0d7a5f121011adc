"""Who may ask, from where, how much, and what the log says."""

import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from orpheus.common.errors import InputError
from orpheus.server.options import ServerOptions, check_reach, read_keys
from tests.fakes.server import serving, wait_for
from tests.server.test_load import heard

KEYS = {"abcdefgh": "anna", "12345678": "ben"}
SPEECH = {"input": "Yes.", "response_format": "pcm"}


@pytest.fixture
def guarded(talker):
    with serving({"small": talker[1]}, keys=KEYS) as running, httpx.Client(base_url=running.address) as client:
        running.http = client
        yield running


def test_a_key_is_needed(guarded):
    ask = guarded.http.post
    for headers in ({}, {"authorization": "Bearer"}, {"authorization": "Basic abcdefgh"}):
        response = ask("/v1/audio/speech", json=SPEECH, headers=headers)
        assert response.status_code == 401 and response.json()["error"]["code"] == "invalid_api_key"
    for key in ("abcdefg", "abcdefghi", "ABCDEFGH", "anna", "\u00e4" * 8):
        assert (
            ask("/v1/audio/speech", json=SPEECH, headers={"authorization": f"Bearer {key}".encode()}).status_code == 401
        )
    for headers in (
        {"authorization": "Bearer abcdefgh"},
        {"authorization": "bearer 12345678"},
        {"x-api-key": "abcdefgh"},
    ):
        assert ask("/v1/audio/speech", json=SPEECH, headers=headers).status_code == 200
    assert guarded.http.get("/metrics").status_code == 401


def test_lists_need_no_key(guarded):
    for path in ("/", "/healthz", "/readyz", "/v1/models", "/v1/models/tts-1", "/v1/audio/models", "/v1/audio/voices"):
        assert guarded.http.get(path).status_code == 200, path


def test_the_log_names_keys_and_no_text(guarded, capfd):
    guarded.http.post("/v1/audio/speech", json={"input": "A secret."}, headers={"authorization": "Bearer abcdefgh"})
    wait_for(lambda: guarded.speaker.admission.active == 0)
    time.sleep(0.05)
    said = capfd.readouterr().err
    assert "anna: 9 characters, done" in said and "secret" not in said and "abcdefgh" not in said


def test_text_is_logged_where_that_is_asked_for(talker, capfd):
    with serving({"small": talker[1]}, log_text=True) as running:
        httpx.post(f"{running.address}/v1/audio/speech", json={"input": "No secret <laff>."})
        time.sleep(0.05)
    said = capfd.readouterr().err
    assert "'No secret <laff>.'" in said and "warning: unknown tag <laff>" in said


def test_pages_of_other_sites_are_not_let_in(server):
    ask, here = server.http.post, urlsplit(server.address).netloc
    assert ask("/v1/audio/speech", json=SPEECH, headers={"origin": f"http://{here}"}).status_code == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        response = ask("/v1/audio/speech", json=SPEECH, headers={"origin": origin})
        assert response.status_code == 403 and "access-control-allow-origin" not in response.headers
    assert server.http.get("/v1/models", headers={"host": "evil.example:8080"}).status_code == 403
    for host in ("localhost:8080", "127.0.0.1", "[::1]:80"):
        assert server.http.get("/v1/models", headers={"host": host}).status_code == 200
    assert "access-control-allow-origin" not in server.http.options("/v1/audio/speech").headers


# --- sizes and times ---


def connected(running):
    client = socket.create_connection((urlsplit(running.address).hostname, urlsplit(running.address).port))
    client.settimeout(20)
    return client


def test_a_megabyte_of_text_is_refused_quickly(server):
    began = time.process_time()  # the server is in this process
    response = server.http.post("/v1/audio/speech", json={"input": "a" * 1_000_000})
    assert response.status_code == 400 and "input has 1,000,000 characters" in response.json()["error"]["message"]
    assert time.process_time() - began < 2


def test_bodies_are_limited(server):
    response = server.http.post(
        "/v1/audio/speech", content=b" " * 1_300_000, headers={"content-type": "application/json"}
    )
    assert response.status_code == 413 and "1,265,536 are the most" in response.json()["error"]["message"]

    def parts():
        for _ in range(30):
            yield b" " * 65_536

    response = server.http.post("/v1/audio/speech", content=parts(), headers={"content-type": "application/json"})
    assert response.status_code == 413


def test_headers_are_limited(server):
    client = connected(server)
    client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n")
    assert heard(client).startswith(b"HTTP/1.1 431")


def test_slow_lorises_are_let_go(talker):
    with serving({"small": talker[1]}, receive_seconds=0.5) as running, httpx.Client(base_url=running.address) as good:
        silent, header, body = connected(running), connected(running), connected(running)
        header.sendall(b"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        body.sendall(
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        assert good.post("/v1/audio/speech", json=SPEECH).status_code == 200
        for client in (silent, header, body):
            assert heard(client).startswith(b"HTTP/1.1 408")
        time.sleep(0.7)  # longer than headers may take, with a connection that was kept
        assert good.post("/v1/audio/speech", json=SPEECH).status_code == 200


def test_connections_are_limited(talker):
    with serving({"small": talker[1]}, connections=3) as running:
        kept = [connected(running) for _ in range(3)]
        time.sleep(0.1)
        assert heard(connected(running)).startswith(b"HTTP/1.1 503")
        for client in kept:
            client.close()
        wait_for(lambda: not running.server_state.connections)
        assert httpx.get(f"{running.address}/healthz").status_code == 200


# --- options ---


def test_the_network_is_not_let_in_without_keys():
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
        check_reach(ServerOptions(host=host), {})
    for host in ("0.0.0.0", "::", "192.168.1.5"):
        with pytest.raises(InputError, match=f"host '{host}' lets the network in, and no keys are set.*--no-auth"):
            check_reach(ServerOptions(host=host), {})
        check_reach(ServerOptions(host=host), KEYS)
        check_reach(ServerOptions(host=host, no_auth=True), {})
    with pytest.raises(InputError, match="Wyoming knows no keys"):
        check_reach(ServerOptions(host="0.0.0.0", wyoming=10200), KEYS)
    check_reach(ServerOptions(host="0.0.0.0", wyoming=10200, no_auth=True), KEYS)
    check_reach(ServerOptions(wyoming=10200), {})


def test_keys_are_read(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# of the team\nanna: abcdefgh\n\nijklmnop # nobody's\n")
    assert read_keys(file, {}) == {"abcdefgh": "anna", "ijklmnop": "key 2"}
    assert read_keys(None, {"ORPHEUS_SERVER_KEYS": "ben:12345678, 87654321"}) == {
        "12345678": "ben",
        "87654321": "key 2",
    }
    assert read_keys(None, {}) == {}
    file.write_text("# nothing\n")
    for path, said in ((file, "holds no key"), (tmp_path / "none", "No such file"), (tmp_path, "directory")):
        with pytest.raises(InputError, match=said):
            read_keys(path, {})
    with pytest.raises(InputError, match="key ben must have at least 8 characters"):
        read_keys(None, {"ORPHEUS_SERVER_KEYS": "ben:1234567"})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"port": 70_000}, "port must be"),
        ({"max_streams": 0}, "max_streams"),
        ({"stall_seconds": 0}, "stall_seconds must be between"),
        ({"host": " "}, "host is empty"),
        ({"voice_model": ("anna",)}, "voice_model must be NAME=ADAPTER, not 'anna'"),
        ({"voice_model": ("anna=a", "anna=b")}, "voice_model names anna twice"),
        ({"voice_model": ("../x=a",)}, "is no name for a voice"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        ServerOptions(**options)
