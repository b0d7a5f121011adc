"""The page at / as a file: its size, that it asks nobody else, that everything has a name, and what browsers are told of it."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import httpx
import pytest

from orpheus.server.page import page
from tests.fakes.server import serving

HTML = page().html.decode()


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def elements(*tags):
    parser = Elements()
    parser.feed(HTML)
    return [(tag, attributes) for tag, attributes in parser.found if not tags or tag in tags]


def test_it_is_one_small_file():
    assert 10_000 < len(page().html) < 60_000
    assert not elements("iframe", "img", "object") and all("src" not in given for _, given in elements())


def test_it_asks_nobody_else():
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[\w./-]*", HTML))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a language
    assert [given["href"][:5] for _, given in elements("link")] == ["data:"]


def test_everything_has_a_name():
    labelled = {given["for"] for _, given in elements("label")}
    for _, given in elements("input", "select", "textarea", "pre"):
        assert given.get("id") in labelled or given.get("aria-label"), given
    names = {given["id"] for _, given in elements() if "id" in given}
    for _, given in elements():
        for reference in ("for", "aria-labelledby", "aria-describedby"):
            assert set(given.get(reference, "").split()) <= names, given
    assert [given["role"] for _, given in elements() if "aria-live" in given] == ["status"]
    assert dict(elements("html")[0][1])["lang"] == "en" and len([1 for tag, _ in elements("h1")]) == 1


def test_browsers_let_it_run_its_own_script_alone():
    policy = dict(part.split(" ", 1) for part in page().headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["connect-src"] == "'self'" and "unsafe" not in str(policy)
    for element in ("script", "style"):
        (inside,) = re.findall(f"<{element}>(.*?)</{element}>", HTML, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[f"{element}-src"] == f"'sha256-{digest}'"
    for _, given in elements():
        assert not [name for name in given if name == "style" or name.startswith("on")], given


@pytest.mark.parametrize("keys", [{}, {"abcdefgh": "anna"}])
def test_it_asks_for_a_key_where_one_is_needed(talker, keys):
    with serving({"small": talker[1]}, keys=keys) as running:
        answer = httpx.get(running.address + "/")
        assert answer.headers["content-type"].startswith("text/html") and answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-security-policy"] == page().headers["content-security-policy"]
        assert ("<html data-key " in answer.text) == bool(keys)


def test_the_tags_of_each_model_are_told(server):
    model = server.http.get("/v1/models/small").json()
    assert "laugh" in model["tags"] and server.http.get("/v1/models/tts-1").json()["tags"] == model["tags"]
