"""Has a language model judge documents by a rubric.

Emits a struct: `score` (double, the mean of the votes), `votes` (int32, those that were of use), `agreement` (double, the share of them
that gave the commonest number) and `reason` (string, that of the first).
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT
from curate.errors import PipelineError
from curate.llm import Answer, Llm, Prompt
from curate.protocols import Scorer
from curate.registry import suggest
from curate_operators.prompt_sets import Style, read, read_file, read_shipped
from curate_operators.token_counts import Tokens, read_tokens

SET = "judge"
MAX_REASON_CHARS = 300
OUTPUT = pa.struct(
    [
        pa.field("score", pa.float64()),
        pa.field("votes", pa.int32()),
        pa.field("agreement", pa.float64()),
        pa.field("reason", pa.string()),
    ]
)
Vote = tuple[int, str]  # the number, and the reason for it


@dataclass(frozen=True)
class LlmJudge(Scorer):
    """Has a language model judge each document by a rubric, once or several times.

    ## What it does
    Shows the model the rubric and the beginning of the document, as many tokens as the rubric's `max_input_tokens`, and asks for JSON with
    a `score` from 0 to `max_score` and a short `reason`; the server is told the schema, so that a model can write nothing else. Emits the
    mean `score` of all `votes` that hold such a number, their `agreement` (the share that gave the commonest) and the first reason. A
    document without a vote of use, and a blank one, has no score (null). A prompt without an answer is an error of its row.

    ## Why
    Labels by a large model, on a sample, are what small classifiers of quality are trained on. Ask for several votes on a few hundred
    documents first: where a model does not agree with itself, its labels teach nothing.

    ## Example
        - use: llm_judge
          into: education
          params:
            llm: {model: llama-70b, endpoint: "http://127.0.0.1:8000/v1", temperature: 0.7}
            votes: 3
        - use: where
          params: {keep: "education.score >= 3"}

    ## Parameters
    - `llm`: the model and how it is asked; see `curate.llm.Settings`.
    - `rubric`: `education` (how much is to be learnt), `cleanliness` (how clean the text is), or one of `prompt_file`.
    - `prompt_file`: rubrics of your own, a file like `curate_operators/prompts/judge.yaml`.
    - `votes`: how often each document is judged; more than one needs a `temperature` above 0.
    - `max_score`: the best score that there is.
    - `tokenizer`: a folder or file of the model's tokenizer, to count tokens with; null = a token for every 4 bytes.

    ## Source
    Additive rubrics: Penedo et al., *FineWeb* (2024), whose prompt this is not; two of them for pages: Zhou et al., *ProX* (2024).
    """

    cost = "costly"
    reproducible = "cached"
    files: ClassVar[tuple[str, ...]] = ("prompt_file", "tokenizer")
    folders: ClassVar[tuple[str, ...]] = ("tokenizer",)

    llm: Mapping[str, Any] = field(hash=False)
    rubric: str = "education"
    prompt_file: str | None = None
    votes: int = 1
    max_score: int = 5
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if self.votes < 1 or self.max_score < 1:
            name = "votes" if self.votes < 1 else "max_score"
            raise PipelineError(f"llm_judge: {name} is less than 1: {getattr(self, name)}")
        if self.votes > 1 and self._llm.settings.temperature == 0:
            raise PipelineError("llm_judge: several votes at temperature 0 are one vote", "`temperature: 0.7` in `llm`, or `votes: 1`")
        if self.prompt_file is None:
            _rubric(read_shipped(SET), self.rubric)

    def models(self) -> Mapping[str, Llm]:
        return {"llm": self._llm}

    def verify_file(self, parameter: str, path: Path) -> None:
        if parameter == "tokenizer":
            read_tokens(str(path))
        else:
            _rubric(read_file(path), self.rubric)

    def output(self) -> pa.DataType:
        return OUTPUT

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        texts = pc.fill_null(docs.column(TEXT), "").to_pylist()
        shown = [row for row, text in enumerate(texts) if text.strip()]
        prompts = [prompt for row in shown for prompt in self._prompts(texts[row])]
        answers = iter(self._llm.ask(prompts))
        judged: list[dict[str, Any] | None] = [None] * len(texts)
        for row in shown:
            judged[row] = _summed([self._vote(next(answers)) for _ in range(self.votes)])
        return pa.array(judged, OUTPUT)

    def _prompts(self, text: str) -> Sequence[Prompt]:
        prompt = self._style.ask(self._tokens.first(text, self._style.max_input_tokens))
        return [dataclasses.replace(prompt, schema=self._schema, sample=n) for n in range(self.votes)]

    @functools.cached_property
    def _schema(self) -> Mapping[str, Any]:
        score = {"type": "integer", "minimum": 0, "maximum": self.max_score}
        reason = {"type": "string", "maxLength": MAX_REASON_CHARS}
        return {
            "type": "object",
            "properties": {"reason": reason, "score": score},
            "required": ["reason", "score"],
            "additionalProperties": False,
        }

    def _vote(self, answer: Answer) -> Vote | None:
        """Return what an answer says, None where it holds no number within bounds; a server may not know of schemas."""
        text = answer.required()
        start, end = text.find("{"), text.rfind("}")
        try:
            told = orjson.loads(text[start : end + 1])
        except orjson.JSONDecodeError:
            return None
        number = told.get("score") if isinstance(told, dict) else None
        if type(number) is not int or not 0 <= number <= self.max_score:
            return None
        reason = told.get("reason")
        return number, reason[:MAX_REASON_CHARS] if isinstance(reason, str) else ""

    @functools.cached_property
    def _llm(self) -> Llm:
        return Llm(self.llm)

    @functools.cached_property
    def _style(self) -> Style:
        return _rubric(read(SET, self.prompt_file), self.rubric)

    @functools.cached_property
    def _tokens(self) -> Tokens:
        return read_tokens(self.tokenizer)


def _rubric(styles: Mapping[str, Style], name: str) -> Style:
    if name not in styles:
        raise PipelineError(f"llm_judge: there is no rubric `{name}`", suggest(name, list(styles)) or f"rubrics: {', '.join(styles)}")
    return styles[name]


def _summed(votes: Sequence[Vote | None]) -> dict[str, Any]:
    counted = [vote for vote in votes if vote is not None]
    if not counted:
        return {"score": None, "votes": 0, "agreement": None, "reason": None}
    numbers = [number for number, _ in counted]
    commonest = Counter(numbers).most_common(1)[0][1]
    return {
        "score": sum(numbers) / len(numbers),
        "votes": len(numbers),
        "agreement": commonest / len(numbers),
        "reason": counted[0][1],
    }
