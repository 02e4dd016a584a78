"""The hub's HTTP interface, as far as its own client uses it here; repositories are in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

ENDPOINT = "https://hub.invalid"


class FakeHub:
    """Repositories of files, each with one branch.

    Attributes:
        repositories: The files of each, by its name.
        commits: What was said of each commit.
        private: Which repositories were made private.
        tokens: What whoever wrote was known by.
        refusal: What every request is answered with, where it is set: a status.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.commits: list[str] = []
        self.private: set[str] = set()
        self.tokens: set[str | None] = set()
        self.refusal: int | None = None

    def answer(self, request: Any, respond: Callable[..., Any]) -> Any:
        """Answer one request of the client's HTTP library."""
        if self.refusal is not None:
            return respond(self.refusal, json={"error": "no"})
        path, method = request.url.path, request.method
        if path == "/api/repos/create" or path.endswith("/commit/main"):
            self.tokens.add(request.headers.get("authorization"))
        if path == "/api/repos/create":
            wanted = json.loads(request.content)
            name = f"{wanted['organization']}/{wanted['name']}"
            if wanted.get("private") or wanted.get("visibility") == "private":
                self.private.add(name)
            if name in self.repositories:
                return respond(409, json={"error": "there is one", "url": f"{ENDPOINT}/{name}"})
            self.repositories[name] = {}
            return respond(200, json={"url": f"{ENDPOINT}/{name}", "name": name})
        if path == "/api/validate-yaml":
            return respond(200, json={"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path):
            return self._write(*found.groups(), request.content, respond)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path):
            return self._describe(found[1], found[2] or "", respond)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._give(found[1], found[2], method, respond)
        return respond(404, json={"error": f"{method} {path}"})

    def _write(self, name: str, what: str, body: bytes, respond: Callable[..., Any]) -> Any:
        if what == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in files
            ]
            return respond(200, json={"files": modes})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "header":
                self.commits.append(line["value"]["summary"])
            else:
                content = base64.b64decode(line["value"]["content"])
                self.repositories[name][line["value"]["path"]] = content
        url = f"{ENDPOINT}/{name}/commit/{self._version(name)}"
        return respond(200, json={"success": True, "commitOid": self._version(name),
                                  "commitUrl": url, "hookOutput": ""})  # fmt: skip

    def _describe(self, name: str, rest: str, respond: Callable[..., Any]) -> Any:
        if name not in self.repositories:
            return respond(404, headers={"x-error-code": "RepoNotFound"}, json={"error": "none"})
        files = self.repositories[name]
        if rest.startswith("/tree/"):
            entries = [
                {"type": "file", "path": path, "size": len(data), "oid": _hash(data)}
                for path, data in files.items()
            ]
            return respond(200, json=entries)
        siblings = [{"rfilename": path} for path in files]
        return respond(200, json={"id": name, "sha": self._version(name), "siblings": siblings,
                                  "private": False, "tags": []})  # fmt: skip

    def _give(self, name: str, path: str, method: str, respond: Callable[..., Any]) -> Any:
        if name not in self.repositories:
            return respond(404, headers={"x-error-code": "RepoNotFound"})
        if (data := self.repositories[name].get(path)) is None:
            return respond(404, headers={"x-error-code": "EntryNotFound"})
        headers = {"x-repo-commit": self._version(name), "etag": f'"{_hash(data)}"',
                   "content-length": str(len(data))}  # fmt: skip
        return respond(200, headers=headers, content=b"" if method == "HEAD" else data)

    def _version(self, name: str) -> str:
        files = sorted((path, _hash(data)) for path, data in self.repositories[name].items())
        return _hash(repr(files).encode())


def _hash(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
