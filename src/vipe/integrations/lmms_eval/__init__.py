"""Integration, lmms-eval: ViPE as one of its models, and rows as one of its tasks.

model      what lmms-eval calls: requests → answers, losses
media      what its documents show → what is seen
arguments  its texts and generation settings → ours
tasks      a JSONL file of rows → a folder of tasks
scoring    a task's questions, and the figures of its answers

Only `model` needs lmms-eval. `manifest` is what lmms-eval finds by its entry points, so that
`lmms-eval --model vipe` needs no more than this package beside it.
"""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """Return lmms-eval's `ModelManifest` of the model `vipe`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    # Not as a chat model: such a one is given no questions with choices to score.
    return ModelManifest(
        model_id="vipe", simple_class_path="vipe.integrations.lmms_eval.model.LmmsViPE"
    )
