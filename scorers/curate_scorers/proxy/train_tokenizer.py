"""Trains a tokenizer on a corpus and says what it costs each language and domain.

The artifact keeps a Hugging Face tokenizer: `tokenizer.json` and `tokenizer_config.json`. Its rows are the held-out documents:

| column | type   | is                                                       |
|--------|--------|----------------------------------------------------------|
| id     | string | the document                                             |
| bytes  | int64  | of its text                                              |
| words  | int64  | in it, those that are no mere punctuation                |
| tokens | int64  | that it becomes                                          |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import pyarrow as pa

from curate import beside
from curate.beside import Item
from curate.dataset import Dataset
from curate.document import SOURCE, TEXT
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import Cost, DatasetOperator
from curate.report.units import plural, size
from curate.work import Verdict, Work
from curate_scorers.lm_loss_model import package
from curate_scorers.proxy import train_tokenizer_phases as phases
from curate_scorers.proxy.tokenizer_patterns import PATTERNS, Pattern

BYTES = 256  # every byte is a token, so that every text has tokens
HELD_BYTES = 16 << 20  # of text is enough to measure
SHOWN = 40  # groups in a table


@dataclass(frozen=True)
class TrainTokenizer(DatasetOperator):
    """Trains a byte-level BPE tokenizer on a sample of the corpus, and measures it on documents that it has not seen.

    ## What it does
    Takes about `max_bytes` of text, chosen by a seeded hash of the ids, splits it by `pattern` and merges the most frequent pairs until
    there are `size` tokens. What `pattern` leaves in one piece of more than 256 characters, such as a sequence of DNA, is counted in
    pieces of 256. Every byte is a token, so every text can be told in tokens and read back. The artifact has the tokenizer as a Hugging
    Face folder, which `tokenize` and transformers read; what is held out is measured: bytes per token, and tokens per word (fertility),
    by each of the columns `report_by`. The same documents give the same bytes for any number of workers and any layout of shards.

    ## Why
    A tokenizer of another corpus costs one's own up to several times the tokens, and languages unequally: the table says which.

    ## Example
        tokenizer:
          from: clean
          use: train_tokenizer
          params: {size: 32768, report_by: [source, lang.code]}

    ## Parameters
    - `size`: tokens, special ones and the 256 bytes included.
    - `pattern`: where text is split before: `gpt2`, `gpt4` (numbers in threes), `digits` (each digit alone).
    - `eos`: the token that ends documents.
    - `special_tokens`: others that no text contains.
    - `min_count`: a pair that is rarer is not merged.
    - `max_bytes`: about so much text is trained on, in the memory of one task.
    - `held_out`: share of the documents to measure by, of at most 16 MB of text.
    - `report_by`: columns of documents, or of attributes beside them.
    - `seed`: of the choice.

    ## Source
    Sennrich et al., *Neural Machine Translation of Rare Words with Subword Units* (2016); the package `tokenizers`.
    """

    version: ClassVar[int] = 2
    cost: ClassVar[Cost] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"

    size: int = 32_768
    pattern: Pattern = "gpt4"
    eos: str = "<|endoftext|>"
    special_tokens: Sequence[str] = ()
    min_count: int = 2
    max_bytes: int = 100_000_000
    held_out: float = 0.05
    report_by: Sequence[str] = (SOURCE,)
    seed: int = 0

    def __post_init__(self) -> None:
        special = self._special
        if self.pattern not in PATTERNS:
            raise PipelineError(f"train_tokenizer: no such pattern: {self.pattern}", f"known: {', '.join(PATTERNS)}")
        if not all(special) or len(set(special)) < len(special):
            raise PipelineError(f"train_tokenizer: special tokens are not all different: {', '.join(special)}", "name each once")
        if self.size < BYTES + len(special):
            raise PipelineError(f"train_tokenizer: size is less than {BYTES + len(special)}: {self.size}", "every byte is a token")
        for name in ("min_count", "max_bytes"):
            if getattr(self, name) < 1:
                raise PipelineError(f"train_tokenizer: {name} is less than 1: {getattr(self, name)}")
        if not 0 < self.held_out < 1:
            raise PipelineError(f"train_tokenizer: held_out is not between 0 and 1: {self.held_out}", "0.05 keeps a twentieth")

    @property
    def _special(self) -> list[str]:
        return [self.eos, *self.special_tokens]

    def reads(self) -> tuple[str, ...]:
        return (TEXT, *self.report_by)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("train_tokenizer", sources)

    def adds(self) -> Mapping[str, pa.DataType]:
        return phases.MEASURES

    def run(self, inputs: list[Dataset], work: Work) -> None:
        package("tokenizers")
        chosen = self._chosen(inputs, work)
        files = [one["files"]["trained"] for one in chosen if one["rows"]["trained"]]
        if not files:
            some = any(one["rows"]["held"] for one in chosen)
            hint = "a larger `max_bytes` takes more of it" if some else "none of the corpus's documents has any: look at what made them"
            raise OperatorError("train_tokenizer: there is no text to train on", hint)
        task = {"files": files, "size": self.size, "pattern": self.pattern, "special": self._special, "min_count": self.min_count}
        trained_bytes = sum(one["bytes"] for one in chosen)
        [made] = work.map("train", phases.train, [task], [trained_bytes])
        for name, path in made["files"].items():
            work.write_file(name, path)
        measured = self._measured(chosen, made, work)
        about = {"operator": "train_tokenizer", "tokens": made["tokens"], "pattern": self.pattern, "eos": self.eos}
        documents = sum(one["rows"]["trained"] for one in chosen)
        work.about = about | {"trained_on": {"documents": documents, "bytes": trained_bytes}, "held_out": measured}

    def _chosen(self, inputs: list[Dataset], work: Work) -> list[Item]:
        """Choose what is trained on and what is held out, by shares of all text."""
        items = beside.shard_items("train_tokenizer", inputs)
        sizes = [shard.data.bytes for shard in inputs[0].manifest.shards]
        total = sum(one["bytes"] for one in work.map("count", phases.count_shard, items, sizes)) or 1
        held = min(self.held_out, HELD_BYTES / total)
        shared = {"trained": min(1 - held, self.max_bytes / total), "held": held, "seed": self.seed, "report_by": list(self.report_by)}
        return work.map("choose", phases.choose_shard, [item | shared for item in items], sizes)

    def _measured(self, chosen: Sequence[Item], made: Item, work: Work) -> Item:
        """Measure the held-out documents, write them as rows, and note what they cost."""
        shared = {"tokenizer": made["files"]["tokenizer.json"], "report_by": list(self.report_by)}
        found = work.map("measure", phases.measure_shard, [shared | {"held": one["files"]["held"]} for one in chosen])
        work.write_shards(phases.write_shard, [one["rows"] for one in found])
        whole = phases.added([{"all": one["all"]} for one in found])["all"]
        trained = size(sum(one["bytes"] for one in chosen))
        message = f"{plural(made['tokens'], 'token')} from {trained} of text"
        if not whole[0]:
            work.note("tokenizer", Verdict(False, f"{message}; no document was held out, so that it is not measured: raise `held_out`"))
            return {}
        all_costs = phases.costs(whole)
        message += f"; {all_costs['bytes per token']:.2f} bytes per token on {plural(whole[0], 'held-out document')}"
        short = f"; {self.size:,} were asked for, and there is not enough text for more" if made["tokens"] < self.size else ""
        work.note("tokenizer", Verdict(not short, message + short, all_costs))
        for column in self.report_by:
            groups = phases.added([one["groups"][column] for one in found])
            rows = {name: phases.costs(numbers) for name, numbers in list(groups.items())[:SHOWN]}
            work.note(f"by {column}", Verdict(True, f"what tokens cost by `{column}`: {plural(len(groups), 'value')}", rows))
        return all_costs
