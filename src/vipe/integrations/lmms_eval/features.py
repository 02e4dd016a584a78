"""Integration, lmms-eval: the types of a task's documents; for datasets, which would guess them."""

from __future__ import annotations

from datasets import Features, Value

_TEXT = Value("string")
DOCUMENT = Features(
    {"video": _TEXT, "question": _TEXT, "kind": _TEXT}
    | {"accept": [_TEXT], "references": [_TEXT], "options": [_TEXT]}
)
"""A list without entries in the first rows is still one of texts."""
