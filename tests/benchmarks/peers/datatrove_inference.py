"""`python datatrove_inference.py URL MODEL DOCS.jsonl WORK LANES PARAMETERS`: datatrove's inference runner asks a server about documents.

Runs in datatrove's environment, in one process, with the request cache and the chunks that it resumes from. PARAMETERS is JSON that goes
with each request. Prints one JSON object: `seconds` from the pipeline's start to its end, `cpu` of this process meanwhile, and `tokens`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


async def ask(document: Any, generate: Any) -> Any:
    """Ask about a document as a user's message."""
    return await generate({"messages": [{"role": "user", "content": document.text}]})


def main(url: str, model: str, docs: str, work: str, lanes: str, parameters: str) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from loguru import logger

    logger.remove()
    config = InferenceConfig(
        server_type="endpoint",
        model_name_or_path=model,
        endpoint_url=url.removesuffix("/v1"),
        max_concurrent_generations=int(lanes),
        default_generation_params=json.loads(parameters),
    )
    writer = JsonlWriter(f"{work}/out", output_filename="${rank}_${chunk_index}.jsonl")
    runner = InferenceRunner(ask, config, writer, checkpoints_local_dir=f"{work}/chunks", records_per_chunk=500)
    reader = JsonlReader(str(Path(docs).parent), glob_pattern=Path(docs).name)
    begun = time.monotonic(), time.process_time()
    LocalPipelineExecutor([reader, runner], logging_dir=f"{work}/logs").run()
    spent = time.monotonic() - begun[0], time.process_time() - begun[1]
    tokens = json.loads(Path(work, "logs", "stats.json").read_text())[1]["stats"]["completion_tokens"]["total"]
    sys.stdout.write(json.dumps({"seconds": spent[0], "cpu": spent[1], "tokens": tokens}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
