"""Which scripts the languages of lid.176 are written in, and which answers of the model a text's letters contradict."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

LANGUAGES = {
    "Arabic": "ar arz az azb ckb fa kk ku ky lrc ms mzn pa pnb ps sd ug ur",
    "Armenian": "hy",
    "Bengali": "as bn bpy",
    "Cyrillic": "av az ba be bg bs bxr ce cv kk krc ku kv ky lez mhr mk mn mrj myv os ro ru rue sah sh sr tg tk tt tyv ug uk uz xal",
    "Devanagari": "bh dty gom hi hif mai mr ne new sa sd",
    "Ethiopic": "am",
    "Georgian": "ka xmf",
    "Greek": "el",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Han": "ja ko wuu yue zh",
    "Hangul": "ko",
    "Hebrew": "he yi",
    "Hiragana": "ja",
    "Kannada": "kn",
    "Katakana": "ja",
    "Khmer": "km",
    "Lao": "lo",
    "Latin": """
        af als an ast az bar bcl br bs ca cbk ceb ckb co cs cy da de diq dsb eml en eo es et eu fi fr frr fy ga gd gl gn gom gv hif hr hsb
        ht hu ia id ie ilo io is it jbo jv kk ku kw la lb li lmo lt lv mg min ms mt mwl nah nap nds nl nn no oc pam pfl pl pms pt qu rm ro
        sc scn sco sh sk sl so sq sr su sv sw tk tl tr tt ug uz vec vep vi vls vo wa war yo""",
    "Malayalam": "ml",
    "Mongolian": "bxr mn",
    "Myanmar": "my",
    "Oriya": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thaana": "dv",
    "Thai": "th",
    "Tibetan": "bo",
}
MIN_SHARE = 0.1  # a page about software in Japanese may well have nine Latin letters for each of its own
OPENING_CHARS = 100
MIN_OPENING_SHARE = 0.2


@functools.cache
def scripts() -> dict[str, tuple[str, ...]]:
    """Return the scripts of each language."""
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for script, codes in LANGUAGES.items():
        for code in codes.split():
            found[code] += (script,)
    return dict(found)


def contradicted(texts: pa.Array, codes: Iterable[str]) -> list[int]:
    """Return the rows where neither a fifth of the opening nor a tenth of all letters is of a script of their language.

    Languages that the table does not know are never contradicted.
    """
    rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, code in enumerate(codes):
        if written := scripts().get(code):
            rows[written].append(row)
    return sorted(row for written, group in rows.items() for row in _foreign(texts, written, group))


def _foreign(texts: pa.Array, written: tuple[str, ...], rows: list[int]) -> list[int]:
    """Return the rows with too few letters of the scripts; the opening clears most of them at a small part of the price."""
    own = "[" + "".join(rf"\p{{{script}}}" for script in written) + "]"
    some = pa.array(rows, pa.int64())
    opening = pc.utf8_slice_codeunits(texts.take(some), 0, OPENING_CHARS)
    some = some.filter(pc.less(_matches(opening, own), pc.multiply(pc.cast(pc.utf8_length(opening), pa.float64()), MIN_OPENING_SHARE)))
    their = texts.take(some)
    foreign: list[int] = some.filter(pc.less(_matches(their, own), _tenth_of_letters(their))).to_pylist()
    return foreign


def allowed(texts: pa.Array) -> list[frozenset[str]]:
    """Return the languages that the letters of each text do not contradict, of those that the table knows."""
    found: list[set[str]] = [set() for _ in range(len(texts))]
    least = _tenth_of_letters(texts)
    scripts_there = {script: pc.greater_equal(_matches(texts, rf"\p{{{script}}}"), least).to_pylist() for script in LANGUAGES}
    for script, there in scripts_there.items():
        for row in (row for row, yes in enumerate(there) if yes):
            found[row].update(LANGUAGES[script].split())
    return [frozenset(codes) for codes in found]


def _tenth_of_letters(texts: pa.Array) -> pa.Array:
    return pc.multiply(_matches(texts, r"\p{L}"), MIN_SHARE)


def _matches(texts: pa.Array, pattern: str) -> pa.Array:
    import polars as pl

    return pc.cast(pl.Series(texts).str.count_matches(pattern).to_arrow(), pa.float64())
