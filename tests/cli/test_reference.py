"""docs/cli.md is what the commands' help says now."""

from __future__ import annotations

from vipe.cli.reference import PAGE, reference


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `python -m vipe.cli.reference`"


def test_the_page_has_every_command_and_option() -> None:
    page = reference()
    for command in (
        "ask", "see", "ls", "chat", "serve", "train", "eval", "compare", "report", "bench",
        "scenes", "photographs", "lmms-tasks", "language-model", "gguf",
    ):  # fmt: skip
        assert f"## `vipe {command}`" in page
    for option in (
        "--merge-ratio",
        "--frames",
        "--store",
        "--answers",
        "--json",
        "--questions",
        "--allowed-folder",
        "--debug",
    ):
        assert f"`{option}" in page
