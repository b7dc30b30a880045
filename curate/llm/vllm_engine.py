"""Runs a model in this process by vLLM: a whole batch of prompts goes to its continuous batching, answers come as they are done.

vLLM pins its own numba, numpy and transformers, so it is imported only here, where a worker needs it: in an environment or image of
its own, with `curate` beside it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

from curate.errors import CurateError, TransientError
from curate.files import local_folder
from curate.llm.chat import FINISHES
from curate.llm.prompts import Answer, Heard, Prompt
from curate.llm.settings import Settings

ONE_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"
"""0 = vLLM's core runs in this process, whose death is noticed: `step` waits for ever for a core that died in one of its own."""
TEMPLATE = "chat_template_kwargs"  # of `body`: for the chat template; all other fields are parameters of sampling


class VllmEngine:
    """A model that this process holds until it ends."""

    def __init__(self, settings: Settings) -> None:
        vllm = _imported()
        self._settings = settings
        try:
            self._llm = vllm.LLM(**({"model": str(local_folder(settings.model)), "disable_log_stats": True} | dict(settings.arguments)))
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            raise CurateError(f"vLLM cannot load {settings.model}: {error}", "`arguments` go to vllm.LLM as they are") from error
        self._template = dict(settings.body.get(TEMPLATE, {}))
        self._vllm = vllm
        self._refusals = (ValueError, getattr(vllm.exceptions, "VLLMValidationError", ValueError))
        self._requests = itertools.count()  # no number comes twice, whatever became of the first

    def answer(self, prompts: Sequence[Prompt], heard: Heard) -> None:
        """Hand over all prompts at once, and tell each answer when it is done."""
        engine, numbers = self._llm.llm_engine, dict[str, int]()
        for number, prompt in enumerate(prompts):
            request = str(next(self._requests))
            try:
                engine.add_request(request, {"prompt_token_ids": self._tokens(prompt)}, self._sampling(prompt))
                numbers[request] = number
            except self._refusals as error:  # longer than the model's window, or not what its template takes
                heard(number, Answer("", "error", error=f"vLLM refuses the prompt: {error}", refused=True))
        try:
            while engine.has_unfinished_requests():
                for output in engine.step():
                    if output.finished and output.request_id in numbers:
                        heard(numbers[output.request_id], _answer(output))
        except CurateError:
            raise  # an answer could not be written down
        except Exception as error:
            raise TransientError(f"vLLM died: {type(error).__name__}: {error}", "its own log says why", cause="worker_died") from error

    def _tokens(self, prompt: Prompt) -> list[int]:
        tokenizer = self._llm.get_tokenizer()
        messages = [{"role": role, "content": text} for role, text in prompt.messages]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **self._template)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def _sampling(self, prompt: Prompt) -> Any:
        further = {name: value for name, value in self._settings.body.items() if name != TEMPLATE}
        if prompt.schema is not None:
            further["structured_outputs"] = self._vllm.sampling_params.StructuredOutputsParams(json=dict(prompt.schema))
        return self._vllm.SamplingParams(
            temperature=self._settings.temperature,
            top_p=self._settings.top_p,
            max_tokens=prompt.max_tokens or self._settings.max_tokens,
            stop=list(prompt.stop) or None,
            **further,
        )


def _answer(output: Any) -> Answer:
    said = output.outputs[0]
    tokens = len(output.prompt_token_ids), len(said.token_ids)
    if said.finish_reason in FINISHES:
        return Answer(said.text, FINISHES[said.finish_reason], *tokens)
    return Answer("", "error", *tokens, error=f"vLLM gives no text: it ended by `{said.finish_reason}`", refused=True)


def _imported() -> Any:
    os.environ.setdefault(ONE_PROCESS, "0")
    try:
        import vllm
        import vllm.exceptions
        import vllm.sampling_params
    except ImportError as missing:
        raise CurateError(
            f"the engine `vllm` cannot be imported here: {missing}",
            "run where vLLM is installed, or ask a server: `engine: endpoint`",
        ) from missing
    return vllm
