"""Serving: ViPE's adapters in servers, other people's and one of our own.

Other people's:

language_model  the language model as a folder that other servers load
llama_cpp       an adapter as a LoRA in GGUF
vllm            a plugin of vLLM's: the model name `vipe:VIDEO` is that video's adapter

Ours: server/, `vipe serve`.
"""
