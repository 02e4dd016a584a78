"""Write a packaged GGUF file as a folder that transformers loads; a program of its own.

It is run once for each file, in a process of its own (`python -m`), because transformers reads a
GGUF only where it found all of its own dependencies when it was imported, and the command line does
without some of them.
"""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr
from pathlib import Path

from vipe.backbones.lookup import one_line, quiet_transformers


def unpack(gguf: Path, folder: Path) -> None:
    """Write a GGUF file as safetensors, config and tokenizer.

    The dequantised weights are kept as float16: half of float32's size, and what rounding
    costs the logits (at most 0.05, their standard deviation being 6.7) is a thirtieth of what
    computing in bfloat16 does.
    """
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet_transformers(), redirect_stderr(io.StringIO()):  # one progress bar has no switch
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, dtype=torch.float16
        )
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        # Every tensor is dequantised; what is left is a plain model that may be saved.
        del model.hf_quantizer, model.config.quantization_config
        model.save_pretrained(folder)
        # SmolLM2 parts a number into digits before its byte-level merges. The GGUF reader leaves
        # that step out, which changes the tokens of several spaces before a number.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        # Nor do all releases of transformers read which tokens are special.
        for name in ("bos", "eos", "pad", "unk"):
            number = getattr(model.config, f"{name}_token_id")
            setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(number))
        tokenizer.model_max_length = model.config.max_position_embeddings
        tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    try:
        unpack(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:
        print(one_line(error))
        sys.exit(1)
