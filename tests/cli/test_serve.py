"""`vipe serve`: what is wrong is told before it serves, and a real process serves and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from vipe import Decoding, ViPE

Command = Callable[..., Any]


def test_a_taken_address_is_one_line(command: Command, model_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = command("serve", "--model", model_folder, "--port", port)
    assert done.status == 2
    assert f"127.0.0.1:{port} cannot be listened on" in done.error


def test_a_missing_folder_or_model_is_one_line(
    command: Command, model_folder: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    done = command("serve", "--model", model_folder, "--port", 0, "--allowed-folder", gone)
    assert (done.status, done.error) == (2, f"{gone}: no such folder")
    done = command("serve", "--model", model_folder, "--port", 0, "--device", "abacus")
    assert done.status == 2
    assert "the device 'abacus' cannot be used" in done.error
    done = command("serve", "--model", gone, "--port", 0)
    assert done.status == 2
    assert "gone" in done.error


@pytest.mark.parametrize("package", ["uvicorn", "fastapi", "httpcore2"])
def test_without_its_packages_it_names_what_to_install(
    command: Command, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = command("serve")
    assert done.status == 2
    assert "pip install 'vipe[serve]'" in done.error


def test_a_process_serves_until_it_is_asked_to_end(
    model_folder: Path, saved_vipe: ViPE, clip: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    arguments = ["serve", "--port", "0", "--model", str(model_folder), "--store", str(store)]
    environment = os.environ | {"VIPE_API_KEY": "secret", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "vipe", *arguments, "--allowed-folder", str(clip.parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            assert url.endswith("/v1"), process.stderr and process.stderr.read()
            client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0)
            content: Any = [
                {"type": "video_url", "video_url": {"url": f"file://{clip}"}},
                {"type": "text", "text": "What is it?"},
            ]
            answer = client.chat.completions.create(
                model=str(model_folder),
                messages=[{"role": "user", "content": content}],
                max_tokens=12,
            )
            with urllib.request.urlopen(url.removesuffix("/v1") + "/health") as health:
                assert json.load(health) == {"status": "ok"}
            with pytest.raises(openai.AuthenticationError):
                openai.OpenAI(base_url=url, api_key="x").models.list()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)
        assert process.returncode == 0
    expected = saved_vipe.ask(
        saved_vipe.see(clip), "What is it?", decoding=Decoding(max_new_tokens=12)
    )
    assert answer.choices[0].message.content == expected
    assert [path.name for path in tmp_path.iterdir()] == ["store"], "its own folders are gone"
    assert len([path for path in store.iterdir() if path.name != ".vipe"]) == 1
