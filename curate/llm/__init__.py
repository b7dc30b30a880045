"""Asks language models: what operators that rewrite, judge or program by a model build on.

An operator holds an `Llm` and asks it whole batches of prompts; the engine gives it a cache, so that no answer is paid for
twice, and counts its tokens. The operator says what each answer means, row by row:

    @dataclass(frozen=True)
    class Shorten(Mapper):
        cost = "costly"
        reproducible = "cached"

        llm: Mapping[str, Any] = field(hash=False)       # settings: {model: NAME, endpoint: http://127.0.0.1:8000/v1, …}

        def __post_init__(self) -> None:
            self.models()                                # wrong settings are told by `curate check`

        def models(self) -> dict[str, Llm]:              # the parameter's name, and the model: all that the engine needs to know
            return {"llm": self._llm}

        @functools.cached_property
        def _llm(self) -> Llm:
            return Llm(self.llm)

        def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
            texts = docs.column("text").to_pylist()
            answers = self._llm.ask([Prompt.user(f"Shorten this text:\\n\\n{text}", max_tokens=512) for text in texts])
            short = [answer.required(whole=True) for answer in answers]
            return set_column(docs, "text", pa.array(short, pa.large_string()))

`required` raises `Unanswered` where a row has no answer: the engine bisects the batch down to that row and quarantines it within
the stage's `max_errors`; the other rows are not asked again. An operator that would rather keep or drop such rows looks at
`answer.finish` and `answer.error` instead. Texts of documents are data: put them last, behind a mark, and trust no answer. With `asks` an
operator tells `curate plan` what its prompts take beside documents, and with `asks_about` what it would ask about some.
"""

from curate.llm.llm import Llm
from curate.llm.prompts import Answer, Engine, Finish, Prompt, Role, Unanswered
from curate.llm.settings import Settings
from curate.llm.usage import Asked

__all__ = ["Answer", "Asked", "Engine", "Finish", "Llm", "Prompt", "Role", "Settings", "Unanswered"]
