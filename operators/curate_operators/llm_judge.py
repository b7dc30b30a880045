"""Has a language model judge documents by a rubric.

Emits a struct: `score` (double, the mean of the votes), `votes` (int32, those that were of use), `agreement` (double, the share of all
votes asked for that gave the commonest number) and `reason` (string, that of the first of use).
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT
from curate.errors import PipelineError
from curate.llm import Answer, Asked, Prompt
from curate.protocols import Scorer
from curate.work import Verdict
from curate_operators.prompt_sets import Style
from curate_operators.prompted import Prompted, json_object, named

MAX_REASON_CHARS = 300
MAX_UNJUDGED_RATIO = 0.01  # of documents without a vote: with more, the run warns
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
class LlmJudge(Prompted, Scorer):
    """Has a language model judge each document by a rubric, once or several times.

    ## What it does
    Shows the model the rubric and the beginning of the document, as many tokens as the rubric's `max_input_tokens`, and asks for JSON with
    a `score` from 0 to `max_score` and a short `reason`; the server is told the schema, so that a model can write nothing else. Emits the
    mean `score` of all `votes` that hold such a whole number (`4.0` is one), their `agreement` and the first reason. `agreement` is the
    share of all votes asked for that gave the commonest number: a vote that is lost agrees with none. A document without a vote of use,
    and a blank one, has no score (null). A prompt without an answer is an error of its row. The run's report tells how many votes were
    lost, how many documents have none, with a warning above 1 %, and the agreement of all votes.

    ## Why
    Labels by a large model, on a sample, are what small classifiers of quality are trained on. Ask for several votes on a few hundred
    documents first: where a model does not agree with itself, its labels teach nothing. Whether it agrees with people is told by
    `calibrate_labels`, which turns its score into the chance that they would keep a document.

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

    version = 2
    prompts: ClassVar[str] = "judge"

    rubric: str = "education"
    votes: int = 1
    max_score: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.votes < 1 or self.max_score < 1:
            name = "votes" if self.votes < 1 else "max_score"
            raise PipelineError(f"llm_judge: {name} is less than 1: {getattr(self, name)}")
        if self.votes > 1 and self._llm.settings.temperature == 0:
            raise PipelineError("llm_judge: several votes at temperature 0 are one vote", "`temperature: 0.7` in `llm`, or `votes: 1`")

    def chosen(self, styles: Mapping[str, Style]) -> Sequence[Style]:
        return [named(styles, self.rubric, "llm_judge", "rubric")]

    def asks(self, text_bytes: int, documents: int) -> Mapping[str, Asked]:
        return {model: asked.times(self.votes) for model, asked in super().asks(text_bytes, documents).items()}

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

    def tally(self, scores: pa.Array) -> Mapping[str, int]:
        judged = [row for row in scores.to_pylist() if row is not None]
        return {
            "documents": len(judged),
            "without_vote": sum(row["votes"] == 0 for row in judged),
            "votes_lost": sum(self.votes - row["votes"] for row in judged),
            "agreeing": sum(round((row["agreement"] or 0) * self.votes) for row in judged),
        }

    def remark(self, tally: Mapping[str, int]) -> Verdict | None:
        documents, asked = tally["documents"], tally["documents"] * self.votes
        if not documents:
            return None
        lost = f"{tally['votes_lost']:,} of {asked:,} votes were lost, {tally['without_vote']:,} of {documents:,} documents have none"
        agreed = f"; {tally['agreeing'] / asked:.1%} of all votes gave their document's commonest score" if self.votes > 1 else ""
        return Verdict(tally["without_vote"] <= MAX_UNJUDGED_RATIO * documents, lost + agreed, tally)

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
        """Return what an answer says, None where it holds no whole number within bounds; a server may not know of schemas."""
        told = json_object(answer.required())
        number: Any = told.get("score")
        if isinstance(number, bool) or number not in range(self.max_score + 1):
            return None
        reason = told.get("reason")
        return int(number), reason[:MAX_REASON_CHARS] if isinstance(reason, str) else ""


def _summed(votes: Sequence[Vote | None]) -> dict[str, Any]:
    counted = [vote for vote in votes if vote is not None]
    if not counted:
        return {"score": None, "votes": 0, "agreement": None, "reason": None}
    numbers = [number for number, _ in counted]
    commonest = Counter(numbers).most_common(1)[0][1]
    return {
        "score": sum(numbers) / len(numbers),
        "votes": len(numbers),
        "agreement": commonest / len(votes),
        "reason": counted[0][1],
    }
