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


@functools.cache
def scripts() -> dict[str, tuple[str, ...]]:
    """Return the scripts of each language."""
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for script, codes in LANGUAGES.items():
        for code in codes.split():
            found[code] += (script,)
    return dict(found)


def contradicted(texts: pa.Array, codes: Iterable[str]) -> list[int]:
    """Return the rows whose letters are not of the scripts of their language, but for fewer than a tenth.

    Languages that the table does not know are never contradicted.
    """
    rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, code in enumerate(codes):
        if written := scripts().get(code):
            rows[written].append(row)
    return sorted(row for written, group in rows.items() for row in _foreign(texts, written, group))


def _foreign(texts: pa.Array, written: tuple[str, ...], rows: list[int]) -> list[int]:
    some = pa.array(rows, pa.int64())
    their = texts.take(some)
    return some.filter(pc.less(_count(their, *written), _tenth_of_letters(their))).to_pylist()


def allowed(texts: pa.Array) -> list[frozenset[str]]:
    """Return the languages that the letters of each text do not contradict, of those that the table knows."""
    found: list[set[str]] = [set() for _ in range(len(texts))]
    least = _tenth_of_letters(texts)
    scripts_there = {script: pc.greater_equal(_count(texts, script), least).to_pylist() for script in LANGUAGES}
    for script, there in scripts_there.items():
        for row in (row for row, yes in enumerate(there) if yes):
            found[row].update(LANGUAGES[script].split())
    return [frozenset(codes) for codes in found]


def _tenth_of_letters(texts: pa.Array) -> pa.Array:
    return pc.multiply(_matches(texts, r"\p{L}"), MIN_SHARE)


def _count(texts: pa.Array, *written: str) -> pa.Array:
    return _matches(texts, "[" + "".join(rf"\p{{{script}}}" for script in written) + "]")


def _matches(texts: pa.Array, pattern: str) -> pa.Array:
    import polars as pl

    return pc.cast(pl.Series(texts).str.count_matches(pattern).to_arrow(), pa.float64())
