"""How each voice sounds: spoken once, kept, and nobody's way into the file system."""

import httpx
import pytest

from orpheus.common.audio import decode_audio
from orpheus.server import previews
from tests.fakes.server import serving


def listed(server):
    return {row["id"]: row["preview"] for row in server.http.get("/v1/audio/voices").json()["voices"]}


def test_each_voice_is_heard_and_made_once(server):
    paths = listed(server)
    assert paths["ann"] == "/v1/audio/voices/ann/preview" and paths["alloy"] in (paths["ann"], paths["bob"])
    for name in ("ann", "bob", "alloy", "ann"):
        heard = server.http.get(paths[name])
        assert heard.status_code == 200 and heard.headers["content-type"] == "audio/mpeg"
        samples, rate = decode_audio(heard.content, "preview")
        assert rate == 24_000 and 6 * 2048 <= len(samples) < 9 * 2048
    assert len(server.talker.spoken) == 2
    assert server.http.get("/v1/audio/voices/alloy/preview").status_code == 200 and len(server.talker.spoken) == 3


def test_those_who_ask_at_once_share_one(server, at_once):
    server.talker.frames, server.talker.pause = 40, 0.002
    answers = at_once(*[lambda: server.http.get("/v1/audio/voices/bob/preview") for _ in range(8)])
    assert {answer.status_code for answer in answers} == {200} and len({answer.content for answer in answers}) == 1
    assert len(server.talker.spoken) == 1


@pytest.mark.parametrize("name", ["eve", "..%2F..%2Fetc%2Fpasswd", "%00", "ann%2Fpreview", "a" * 3000, "%ED%A0%80"])
def test_other_names_are_refused(server, name):
    answer = server.http.get(f"/v1/audio/voices/{name}/preview")
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "voice_not_found"
    assert server.talker.spoken == []


def test_a_key_is_needed(talker):
    with serving({"small": talker[1]}, keys={"abcdefgh": "anna"}) as running:
        url = f"{running.address}/v1/audio/voices/ann/preview"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"x-api-key": "abcdefgh"}).status_code == 200


def test_what_breaks_off_is_not_kept(server):
    server.talker.fail = RuntimeError("worn out")
    assert server.http.get("/v1/audio/voices/ann/preview").status_code == 500
    assert server.http.get("/v1/audio/voices/ann/preview").status_code == 200


def test_few_are_kept(server, monkeypatch):
    monkeypatch.setattr(previews, "_MOST_KEPT", 1)
    for name in ("ann", "ann", "bob", "bob", "ann"):
        assert server.http.get(f"/v1/audio/voices/{name}/preview").status_code == 200
    assert len(server.talker.spoken) == 3
