"""The page's files: all there, nobody else's, and what they are told of the server is true."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest
from running import Running

from vipe.serving.server.decoder import FORMATS

FOLDER = Path(str(resources.files("vipe.serving.server"))) / "page"
FILES = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*") if p.is_file())
TEXTS = [name for name in FILES if name.endswith((".html", ".css", ".js", ".svg", ".json"))]


def test_it_comes_without_a_key_and_may_load_nothing_from_elsewhere(server: Running) -> None:
    status, headers, content = server.call("/", key=None)
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert content == (FOLDER / "index.html").read_bytes()
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "http" not in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", TEXTS)
def test_no_file_names_an_address_or_runs_text(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[\w-]+\.\w", re.sub(r"^\s*//.*$", "", text, flags=re.M))
    for unsafe in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "eval(",
        "document.write",
        "@import",
    ):
        assert unsafe not in text
    if name.endswith(".html"):  # the policy allows neither
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize("name", [name for name in FILES if name != "samples/samples.json"])
def test_every_file_is_served_by_its_name(server: Running, name: str) -> None:
    status, headers, content = server.call(f"/page/{name}", key=None)
    assert (status, content) == (200, (FOLDER / name).read_bytes())
    assert "content-security-policy" in headers
    kinds = {
        "css": "text/css", "html": "text/html", "js": "text/javascript", "mp4": "video/mp4",
        "png": "image/png", "svg": "image/svg+xml", "webp": "image/webp",
    }  # fmt: skip
    assert headers["content-type"].split(";")[0] == kinds[name.rpartition(".")[2]]
    same, _, nothing = server.call(f"/page/{name}", key=None, If_None_Match=headers["etag"])
    assert (same, nothing) == (304, b"")


@pytest.mark.parametrize(
    "name", ["none.js", "", "../page.py", "..%2fpage.py", "samples", "samples/samples.json", "%00"]
)
def test_nothing_else_is_served(server: Running, name: str) -> None:
    status, _, content = server.call(f"/page/{name}", key=None)
    assert status == 404
    assert json.loads(content)["error"]["message"].count("\n") == 0


def test_all_that_the_files_name_is_there() -> None:
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:src|href)="/page/([^"]+)"', html))
    scripts = {name for name in FILES if name.endswith(".js")}
    imported = set()
    for script in scripts:
        text = (FOLDER / script).read_text(encoding="utf-8")
        imported |= set(re.findall(r'from "\./([^"]+)"', text))
        for wanted in re.findall(r'byId\("([^"]+)"\)', text):
            assert f'id="{wanted}"' in html, (script, wanted)
    assert named | imported == scripts | {"style.css", "icon.svg"}
    for target in re.findall(r'(?:for|aria-labelledby)="([^"]+)"', html):
        assert f'id="{target}"' in html
    for targets in re.findall(r'aria-describedby="([^"]+)"', html):
        assert all(f'id="{target}"' in html for target in targets.split())


def test_what_it_tells_is_true_of_the_server(server: Running) -> None:
    status, headers, content = server.call("/page/settings", key=None)
    told = json.loads(content)
    assert status == 200
    assert "content-security-policy" in headers
    assert told["needs_key"] is True
    assert told["limits"]["bytes"] == server.service.limits.bytes == 2_000_000
    assert told["frames"] == 6
    assert server.service.name not in content.decode(), "a folder's name is not everybody's"
    formats = {
        "MP4": "mp4",
        "WebM": "webm",
        "MOV": "mov",
        "MKV": "matroska",
        "AVI": "avi",
        "GIF": "gif",
    }
    page = (FOLDER / "videos.js").read_text(encoding="utf-8")
    assert all(name in page and known in FORMATS.split(",") for name, known in formats.items())


def test_every_sample_can_be_seen(server: Running) -> None:
    samples = json.loads(server.call("/page/settings", key=None)[2])["samples"]
    assert len(samples) == 3
    for sample in samples:
        assert server.call(f"/page/samples/{sample['poster']}", key=None)[0] == 200
        content = server.call(f"/page/samples/{sample['file']}", key=None)[2]
        assert len(content) < 30_000
        status, video = server.upload(sample["file"], content)
        assert status == 201
        assert video["frames"] == (1 if sample["file"].endswith(".png") else 6)
