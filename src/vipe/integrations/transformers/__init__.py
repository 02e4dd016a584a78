"""ViPE inside Hugging Face transformers: importing this is all there is to do.

    import vipe.integrations.transformers
    from transformers import pipeline

    answer = pipeline("video-text-to-text")
    print(answer("dog.mp4", "What animal is this?"))

configuration  `AutoConfig`: a model folder's config, around `vipe.config.ViPEConfig`
modeling       `AutoModel`, `AutoModelForImageTextToText`, `AutoModelForMultimodalLM`
processing     `AutoProcessor`: videos, pictures and chats → tensors
tensors        frames of several videos as a batch, and back
conversation   chats whose turns have parts → words and videos
settings       what `from_pretrained` is given, by whom it is meant for
pipeline       the task "video-text-to-text"; "any-to-any" and "image-text-to-text" know it too

The classes are found by the `model_type` "vipe" of a model folder's config, so that nothing of a
repository is run (`trust_remote_code` stays off).
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY

from vipe.integrations.transformers.configuration import ViPEConfig
from vipe.integrations.transformers.modeling import ViPEModel
from vipe.integrations.transformers.pipeline import TASK, VideoTextToTextPipeline
from vipe.integrations.transformers.processing import ViPEProcessor
from vipe.model_files import default_folder

__all__ = ["ViPEConfig", "ViPEModel", "ViPEProcessor", "VideoTextToTextPipeline"]


def _register() -> None:
    AutoConfig.register(ViPEConfig.model_type, ViPEConfig, exist_ok=True)
    for auto in (AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM):
        auto.register(ViPEConfig, ViPEModel, exist_ok=True)
    AutoProcessor.register(ViPEConfig, ViPEProcessor, exist_ok=True)
    if TASK not in PIPELINE_REGISTRY.get_supported_tasks():  # else transformers has one of its own
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=VideoTextToTextPipeline,
            pt_model=AutoModelForMultimodalLM,
            default={"model": (str(default_folder()), None)},
            type="multimodal",
        )


_register()
