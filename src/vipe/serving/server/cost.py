"""What an answer costs the language model, beside what its twin would pay that reads patches.

The counting is that of `vipe bench` (`vipe.evaluation.operations`), whose formula is checked
against torch's own counter; what it does not hold for is not counted at all.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from vipe.evaluation.operations import prompt_operations, update_operations
from vipe.weights import PerceptualWeights


class Costs:
    """Counts operations to an answer's first token.

    Args:
        language_model: The one that answers.
        patches: Of one frame.

    Attributes:
        known: Whether the formula holds for this language model.
    """

    def __init__(self, language_model: nn.Module, *, patches: int) -> None:
        self._config: Any = language_model.config
        self._patches = patches
        self.known = _is_llama_like(language_model)

    def of(self, prompt: int, weights: PerceptualWeights, frames: int) -> dict[str, Any]:
        """Count for a prompt of so many tokens, about videos of so many frames together.

        Returns:
            `operations` of the language model with the update, and as `twin` those of one that
            has every patch of every frame in its prompt, with its tokens. Operations are None
            where they are not known.
        """
        visual = frames * self._patches
        own = with_patches = None
        if self.known:
            own = prompt_operations(self._config, prompt) + update_operations(weights, prompt)
            with_patches = prompt_operations(self._config, prompt + visual)
        twin = {"visual_tokens": visual, "prompt_tokens": prompt + visual}
        return {"operations": own, "twin": twin | {"operations": with_patches}}


def _is_llama_like(model: nn.Module) -> bool:
    """Tell whether a model's linear layers are those that the formula counts."""
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    linear = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, nn.Linear) and module is not head
    )
    try:
        # Without attention and the output layer: the difference of two lengths, but for squares.
        one, two = (prompt_operations(model.config, tokens) for tokens in (1, 2))
        config: Any = model.config
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        between = 4 * config.num_hidden_layers * config.num_attention_heads * size
    except (AttributeError, TypeError):
        return False
    return bool(two - one == 2 * linear + 3 * between)
