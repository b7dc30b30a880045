"""`python -m curate_scorers.embed_distil MODEL FOLDER`: makes a static table for `embed` of a transformer, offline and without data.

Every token of the vocabulary is read by the transformer as a text of its own; the vectors are centred and turned to their first
principal components; and each is weighted by how rare its token is, taken from its place in the vocabulary, which most tokenizers
order by frequency. The folder is one that model2vec and sentence-transformers read as well.

Source: Tulkens and van Dongen, *Model2Vec* (2024); weights are those of Arora et al., *A Simple but Tough-to-Beat Baseline for Sentence
Embeddings* (2017).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from curate.errors import CurateError, OperatorError
from curate.progress import Progress
from curate.work import OnEvent
from curate_scorers.embed_folder import read_folder
from curate_scorers.embed_transformer import Transformer, package, read_transformer
from curate_scorers.torch_models import Device

STAGE = "tokens of the vocabulary"
BLOCK = 1024  # tokens between two signs of life
RARITY = 1e-4  # `a` of the weights a / (a + p); the published value
MODULES = [("0", ".", "StaticEmbedding"), ("1", "1_Normalize", "Normalize")]


def distil(model: Path, folder: Path, dimensions: int = 256, device: Device = "auto", on_event: OnEvent = lambda event: None) -> None:
    """Write the table of a transformer's folder into another folder; raise `OperatorError` when that is there or the model is none.

    `on_event` gets the events of `curate.progress`, a shard for each block of tokens.
    """
    described = read_folder(model)
    if described.kind != "transformer":
        raise OperatorError(f"embedding model {model} is a static table already")
    if folder.exists():
        raise OperatorError(f"{folder} is there already", "name a new folder")
    if not 1 <= dimensions <= described.dimensions:
        raise OperatorError(f"dimensions is not from 1 to {described.dimensions}, what {model} has: {dimensions}")
    loaded = read_transformer(described, None, device, "auto")
    size = max(loaded.encoder.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    blocks = [range(begin, min(begin + BLOCK, size)) for begin in range(0, size, BLOCK)]
    on_event({"event": "stage_started", "stage": STAGE, "shards": len(blocks)})
    vectors = np.concatenate([_vectors(loaded, block, on_event) for block in blocks])
    on_event({"event": "stage_done", "stage": STAGE, "rows_in": size, "rows_out": size})
    _save(described.network, folder, reduced(vectors, dimensions) * weights(size)[:, None])


def _vectors(loaded: Transformer, tokens: range, on_event: OnEvent) -> Any:
    """Return the vectors of some tokens of the vocabulary, each read as a text of its own."""
    found = loaded.vectors([np.array([token], np.int32) for token in tokens], None)
    on_event({"event": "shard_done", "stage": STAGE, "rows_in": len(tokens)})
    return found


def reduced(vectors: Any, dimensions: int) -> Any:
    """Return vectors, shape (tokens, dimensions), as their first principal components; each has its largest load positive."""
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)  # the least first
    axes = axes[:, ::-1][:, :dimensions]
    largest = axes[np.abs(axes).argmax(0), np.arange(dimensions)]
    return centred @ (axes * np.sign(largest))


def weights(size: int) -> Any:
    """Return the weight of each token, a / (a + p), with p by Zipf's law: the token of rank r is 1 / r as frequent as the first."""
    frequency = 1 / np.arange(2, size + 2)
    return RARITY / (RARITY + frequency / frequency.sum())


def _save(network: Path, folder: Path, table: Any) -> None:
    """Write the files of model2vec's format; the folder appears whole or not at all."""
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    modules = [
        {"idx": i, "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (name, path, kind) in enumerate(MODULES)
    ]
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "normalize": True,
        "hidden_dim": table.shape[1],
        "embedding_dtype": "float32",
    }
    (building / "modules.json").write_bytes(orjson.dumps(modules, option=orjson.OPT_INDENT_2))
    (building / "config.json").write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2))
    shutil.copyfile(network / "tokenizer.json", building / "tokenizer.json")
    package("safetensors.numpy").save_file({"embeddings": np.ascontiguousarray(table, np.float32)}, building / "model.safetensors")
    building.rename(folder)


def main() -> None:
    """Read the command line and make the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a transformer that sentence-transformers saved")
    parser.add_argument("folder", type=Path, help="the folder to make")
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    args = parser.parse_args()
    try:
        with Progress(sys.stderr) as progress:
            distil(args.model, args.folder, args.dimensions, args.device, progress.on_event)
        print(f"{args.folder}: a table of {args.dimensions} dimensions; `embed` reads it", file=sys.stderr)
    except CurateError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
