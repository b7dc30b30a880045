"""Prompts as data: a set is a YAML file of styles, each with what a model is asked, the lengths that go with it, and what its answer is.

styles:
  plain:
    about: the same in plain words
    prompt: |
      Say this in plain words:

      <document>
      {text}
      </document>
    max_input_tokens: 500
    max_output_tokens: 700
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from curate.errors import PipelineError
from curate.files import local_file
from curate.llm import Prompt
from curate.llm.settings import MAX_TOKENS
from curate.pipeline_mistakes import Positions
from curate.registry import suggest
from curate.yaml_tree import read_tree
from curate_operators.token_counts import Estimate, Tokens

FOLDER = Path(__file__).parent / "prompts"
SLOT, QUERY = "{text}", "{query}"
_SLOTS = re.compile(f"{re.escape(SLOT)}|{re.escape(QUERY)}")
_HALF = re.compile("[\ud800-\udfff]")
_NO_HALVES = "write the character itself, or `\\U` with eight digits"
CLOSE = ("</document>", "[/doc]")
Shape = Literal["text", "pairs", "list", "tagged"]
Long = Literal["split", "drop"]
Rewriting = Literal["wrap", "nemotron_cc", "rewire", "finephrase"]  # sets for `rewrite`; others are those of other operators
Guarded = Literal[Rewriting, "instruct"]  # sets for `rewrite_guard`


@dataclass(frozen=True)
class Style:
    """One way of asking. Lengths are in tokens.

    - `prompt`: the user's message, `{text}` where the document stands, and `{query}` where a question about it does; `system`: the message
      before it, if any.
    - `max_input_tokens`: of a segment, with the prompt round it; `max_output_tokens`: of the answer.
    - `max_line_chars`: of ProX's numbered lines, longer ones are shown by their beginning; null = whole.
    - `min_document_tokens`, `min_segment_tokens`: shorter ones are not asked about; `min_output_tokens`: a shorter whole is a failure.
    - `long_segments`: what becomes of a line that is longer than a segment: `split` at sentences, or `drop`.
    - `answer`: `text`; `pairs` of `Question:` and `Answer:`; a `list` of lines that begin with a bullet; or `tagged`, what stands between
      `<text>` and `</text>`.
    - `lead_in`: the words that an answer must begin with, and that are taken away.
    - `markdown`: whether marks of Markdown stay.
    - `pairs_per_150_tokens`: how many pairs at most are drawn for each 150 tokens of the document; null = all.
    - `append`: the answer comes behind the document in place of replacing it.
    - `faithful`: the answer is meant to say all that the document says, so that a guard may look for what is lost.
    - `no_shorter`: the answer is meant to be at least as long as the document, whether it is faithful or not.
    """

    name: str
    about: str
    prompt: str
    max_input_tokens: int
    max_output_tokens: int
    system: str | None = None
    max_line_chars: int | None = None
    min_document_tokens: int = 0
    min_segment_tokens: int = 0
    min_output_tokens: int = 0
    long_segments: Long = "split"
    answer: Shape = "text"
    lead_in: str | None = None
    markdown: bool = False
    pairs_per_150_tokens: int | None = None
    append: bool = False
    faithful: bool = True
    no_shorter: bool = False

    def ask(self, text: str, query: str = "") -> Prompt:
        """Return the prompt for a text, and a question about it; neither can close the marks that the text stands between."""
        filled = self._filled({SLOT: _unmarked(text), QUERY: _unmarked(query)})
        return Prompt.user(filled.rstrip("\n"), system=self.system, max_tokens=self.max_output_tokens)

    @property
    def words(self) -> str:
        """All that a model is told but the document."""
        return " ".join(filter(None, (self.system, self._filled({SLOT: " ", QUERY: " "}))))

    def room(self, tokens: Tokens) -> int:
        """Return the tokens that the prompt leaves for the document; raise `PipelineError` where it leaves none."""
        told = tokens.count([self.words])[0]
        if told >= self.max_input_tokens:
            raise PipelineError(
                f"`max_input_tokens` of style `{self.name}` is {self.max_input_tokens:,}, and its prompt alone has {told:,} tokens",
                "`max_input_tokens` is for prompt and document together: give more, or shorten the prompt",
            )
        return self.max_input_tokens - told

    def _filled(self, values: Mapping[str, str]) -> str:
        """Fill all slots at once: what a text says is never taken for one."""
        return _SLOTS.sub(lambda slot: values[slot[0]], self.prompt)


def _unmarked(text: str) -> str:
    for mark in CLOSE:
        text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text


_TYPES = {field.name: str(field.type) for field in dataclasses.fields(Style) if field.name != "name"}
_LEAST = dict.fromkeys(("max_input_tokens", "max_output_tokens", "max_line_chars", "pairs_per_150_tokens"), 1)
_REQUIRED = ("about", "prompt", "max_input_tokens", "max_output_tokens")


def shipped() -> tuple[str, ...]:
    """Return the names of the sets that come with the pack."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def read_shipped(name: str) -> dict[str, Style]:
    """Return the styles of a shipped set by name; raise `PipelineError` for a name that there is not."""
    if name not in shipped():
        raise PipelineError(f"there is no prompt_set `{name}`", suggest(name, list(shipped())) or f"sets: {', '.join(shipped())}")
    return read_file(FOLDER / f"{name}.yaml")


def read(shipped_name: str, prompt_file: str | None) -> dict[str, Style]:
    """Return the styles of a shipped set, or of the file that takes its place: a path, or the URL of one."""
    return read_shipped(shipped_name) if prompt_file is None else read_file(local_file(prompt_file))


@functools.lru_cache(maxsize=32)
def read_file(path: Path) -> dict[str, Style]:
    """Return the styles of a file by name; raise `PipelineError`, which names the style and key, for whatever is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: cannot be read: {error}") from error
    tree, at = read_tree(text, str(path))
    styles = tree.get("styles") if isinstance(tree, dict) else None
    if not isinstance(styles, dict) or not styles:
        raise PipelineError(f"{path}: has no styles", "a file of prompts is `styles:` with a mapping of names")
    found = {name: _style(name, given, at) for name, given in styles.items()}
    try:
        for style in found.values():
            style.room(Estimate())
    except PipelineError as error:
        raise PipelineError(f"{path}: {error.message}", error.hint) from None
    return found


def without_query(style: Style, use: str) -> Style:
    """Return a style that an operator without questions can use; raise `PipelineError` where its prompt has a place for one."""
    if QUERY in style.prompt:
        raise PipelineError(
            f"{use}: the prompt of `{style.name}` has {QUERY}, which nothing fills here", "only `instruct_answer` has questions"
        )
    return style


def _style(name: str, given: Any, at: Positions) -> Style:
    where = f"{at.where(('styles', name))}: style `{name}`"
    if _HALF.search(name):
        raise PipelineError(f"{at.where(('styles', name))}: the name of a style has half of a surrogate pair", _NO_HALVES)
    if not isinstance(given, dict):
        raise PipelineError(f"{where} is no mapping", f"its keys: {', '.join(_TYPES)}")
    for key, value in given.items():
        place = f"{at.where(('styles', name, key))}: style `{name}`"
        if key not in _TYPES:
            raise PipelineError(f"{place}: unknown key `{key}`", suggest(key, list(_TYPES)) or f"keys are: {', '.join(_TYPES)}")
        _check(key, value, place)
    missing = [key for key in _REQUIRED if key not in given]
    if missing:
        raise PipelineError(f"{where}: {', '.join(f'`{key}`' for key in missing)} missing")
    style = Style(name, **given)
    if style.prompt.count(SLOT) != 1:
        raise PipelineError(f"{where}: `prompt` has {SLOT} {style.prompt.count(SLOT)} times", "once, where the document stands")
    return style


def _check(key: str, value: Any, where: str) -> None:
    kind, what = _TYPES[key], f"{where}: `{key}`"
    choices = get_args({"Shape": Shape, "Long": Long}.get(kind))
    if choices:
        if value not in choices:
            raise PipelineError(f"{what} is one of {', '.join(choices)}, found `{value}`", suggest(str(value), list(choices)))
        return
    base, _, optional = kind.partition(" | ")
    if value is None and optional:
        return
    if type(value).__name__ != base:
        raise PipelineError(f"{what} must be {'a whole number' if base == 'int' else 'a string' if base == 'str' else 'true or false'}")
    if base == "int" and value < (least := _LEAST.get(key, 0)):
        raise PipelineError(f"{what} is less than {least}: {value}")
    if base == "int" and value > MAX_TOKENS:
        raise PipelineError(f"{what} is more than {MAX_TOKENS:,}")
    if base == "str" and _HALF.search(value):
        raise PipelineError(f"{what} has half of a surrogate pair, which is no character", _NO_HALVES)
