"""Makes the corpus that peers are compared on: real documents of `../shared/data`, chosen by the hash of their ids.

Schema of the Parquet file, sorted by set and id: `row` int32, `set`, `id`, `lang` (ISO 639-3 code and script, as datatrove
names its tokenisers), `group` ("english"; "spaced": other languages that put spaces between words; "unspaced": Chinese,
Japanese, Thai, and Vietnamese, whose spaces part syllables), `text` large_string. Long documents are cut at line ends.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CURATE_TEST_DATA", ROOT.parent / "shared" / "data"))
MAX_BYTES = 50_000
HELD_OUT_SHARE = 0.5
UNSPACED = {"cmn_Hani", "jpn_Jpan", "tha_Thai", "vie_Latn"}
ENGLISH = "eng_Latn"

LANGUAGES = {
    **{"en": ENGLISH, "eng": ENGLISH, "en-US": ENGLISH, "pcm": ENGLISH},
    **{"de": "deu_Latn", "deu": "deu_Latn", "de-DE": "deu_Latn", "fr": "fra_Latn", "fra": "fra_Latn", "fr-FR": "fra_Latn"},
    **{"es": "spa_Latn", "es-ES": "spa_Latn", "pt-br": "por_Latn", "por": "por_Latn", "pt-BR": "por_Latn", "pl": "pol_Latn"},
    **{"ru": "rus_Cyrl", "ru-RU": "rus_Cyrl", "ukr": "ukr_Cyrl", "Ukranian": "ukr_Cyrl", "tr": "tur_Latn", "hun": "hun_Latn"},
    **{"ro": "ron_Latn", "el": "ell_Grek", "ar": "arb_Arab", "ar-MA": "arb_Arab", "hi": "hin_Deva", "Gujarati": "guj_Gujr"},
    **{"amh": "amh_Ethi", "tir": "tir_Ethi", "hau": "hau_Latn", "ibo": "ibo_Latn", "lin": "lin_Latn", "lug": "lug_Latn"},
    **{"orm": "orm_Latn", "run": "run_Latn", "sna": "sna_Latn", "som": "som_Latn", "swa": "swa_Latn", "xho": "xho_Latn"},
    **{"yor": "yor_Latn", "Estonian": "est_Latn", "Basque": "eus_Latn", "Latvian": "lav_Latn", "Zulu": "zul_Latn"},
    **{"Ewe": "ewe_Latn", "Kabyle": "kab_Latn", "Swahili": "swa_Latn", "Nahuatl": "nah_Latn", "Armenian": "hye_Armn"},
    **{"Cherokee": "chr_Cher", "Syriac": "syr_Syrc"},
    **{"ja": "jpn_Jpan", "ja-JP": "jpn_Jpan", "zh": "cmn_Hani", "zh-CN": "cmn_Hani", "zh_CN": "cmn_Hani", "th": "tha_Thai"},
    **{"vi": "vie_Latn"},
}
"""Languages as the sets name them. Nigerian Pidgin is split as English is, for datatrove has no tokeniser for it without a model."""

TWO_LETTERS = {
    **{"eng": "en", "deu": "de", "fra": "fr", "spa": "es", "por": "pt", "pol": "pl", "rus": "ru", "ukr": "uk", "tur": "tr"},
    **{"hun": "hu", "ron": "ro", "ell": "el", "arb": "ar", "hin": "hi", "guj": "gu", "amh": "am", "tir": "ti", "hau": "ha"},
    **{"ibo": "ig", "lin": "ln", "lug": "lg", "orm": "om", "run": "rn", "sna": "sn", "som": "so", "swa": "sw", "xho": "xh"},
    **{"yor": "yo", "est": "et", "eus": "eu", "lav": "lv", "zul": "zu", "ewe": "ee", "hye": "hy", "jpn": "ja", "cmn": "zh"},
    **{"tha": "th", "vie": "vi"},
}
"""ISO 639-1 codes, as our operators name languages."""

LANGUAGE_FIELDS = ("lang", "lang_site")
SKIPPED_DOMAINS = {"europarl"}  # a mixture of languages without labels


@dataclass(frozen=True)
class Source:
    """How much of one set is taken, in bytes of text of each group."""

    name: str
    english: int = 0
    spaced: int = 0
    unspaced: int = 0
    reader: str = "docs"

    def budget(self, group: str) -> int:
        """Return the bytes wanted of a group."""
        return {"english": self.english, "spaced": self.spaced, "unspaced": self.unspaced}[group]


SOURCES = (
    Source("web_c4_demo", english=2_000_000),
    Source("quality_dclm_human", english=2_000_000),
    Source("pile_slices", english=6_000_000),
    Source("wiki_en_demo", english=2_000_000),
    Source("wiki_en_wikitext2", english=2_000_000),
    Source("wiki_xquad_parallel", english=300_000, spaced=1_500_000, unspaced=500_000),
    Source("books_eltec", english=1_500_000, spaced=2_000_000),
    Source("specs_peps", english=1_000_000),
    Source("code_samples", english=1_500_000),
    Source("spam_email_sa", english=2_500_000),
    Source("news_african_masakha", english=1_500_000, spaced=3_500_000),
    Source("legal_de_gesetze", spaced=1_000_000),
    Source("manpages_multiling", english=400_000, spaced=1_500_000, unspaced=300_000),
    Source("docs_react_multiling", english=700_000, unspaced=600_000),
    Source("bible_lowres", spaced=1_500_000),
    Source("latex_stacks", english=500_000),
    Source("aozora_ja", unspaced=300_000),
    Source("neardup_kernel_docs", english=500_000),
    Source("warc_docs", english=1_500_000, spaced=1_500_000, unspaced=500_000, reader="pages"),
)


def docs(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield id, language and text of a set's documents."""
    with pa.input_stream(str(DATA / name / "docs.jsonl.zst"), compression="zstd") as stream:
        for line in stream.read().splitlines():
            doc = orjson.loads(line)
            named = next((doc[field] for field in LANGUAGE_FIELDS if doc.get(field)), "en")
            if named in LANGUAGES and doc.get("domain") not in SKIPPED_DOMAINS:
                yield doc["id"], LANGUAGES[named], doc["text"]


def pages(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield URL, language and main text of a crawl's pages."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    sites = {site["site"]: site["lang"] for site in orjson.loads((DATA / name / "MANIFEST.json").read_bytes())}
    with open(DATA / name / "docs.warc.gz", "rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
            url = record.headers["WARC-Target-URI"]
            named = next((lang for site, lang in sites.items() if url.startswith(site)), "")
            if named in LANGUAGES and b"<html" in (body := record.reader.read())[:2000].lower():
                yield url, LANGUAGES[named], extract_plain_text(HTMLTree.parse_from_bytes(body, "utf-8"), main_content=True)


READERS = {"docs": docs, "pages": pages}


def pieces(text: str) -> Iterator[str]:
    """Cut a text at line ends into pieces of at most `MAX_BYTES`; a longer line stays whole."""
    piece: list[str] = []
    size = 0
    for line in text.split("\n"):
        length = len(line.encode()) + 1
        if piece and size + length > MAX_BYTES:
            yield "\n".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += length
    yield "\n".join(piece)


def group_of(lang: str) -> str:
    """Return the group that a language counts in."""
    return "english" if lang == ENGLISH else "unspaced" if lang in UNSPACED else "spaced"


def code_of(lang: str) -> str:
    """Return a language's code for our operators."""
    return TWO_LETTERS.get(lang[:3], lang[:3])


def chosen(source: Source, share: float, without: set[str]) -> list[dict[str, str]]:
    """Return the pieces of a set whose ids hash lowest, up to a share of the budget of each group, sorted by id."""
    rows = [
        {"set": source.name, "id": f"{key}#{i}", "lang": lang, "group": group_of(lang), "text": piece}
        for key, lang, text in READERS[source.reader](source.name)
        for i, piece in enumerate(pieces(text))
        if f"{key}#{i}" not in without
    ]
    rows.sort(key=lambda row: hashlib.sha1(row["id"].encode()).digest())
    taken: dict[str, int] = {}
    kept = []
    for row in rows:
        size = len(row["text"].encode())
        if taken.get(row["group"], 0) + size <= share * source.budget(row["group"]):
            taken[row["group"]] = taken.get(row["group"], 0) + size
            kept.append(row)
    return sorted(kept, key=lambda row: row["id"])


def missing() -> str | None:
    """Say why the corpus cannot be made, or None."""
    absent = [source.name for source in SOURCES if not (DATA / source.name).is_dir()]
    return f"no {', '.join(absent)} in {DATA} (set CURATE_TEST_DATA)" if absent else None


def make(path: Path, beside: Path | None = None) -> None:
    """Write the corpus, or a smaller one of what the corpus `beside` left over."""
    without = set(pq.read_table(beside, columns=["id"])["id"].to_pylist()) if beside else set()
    rows = [row for source in SOURCES for row in chosen(source, HELD_OUT_SHARE if beside else 1, without)]
    names = ("set", "id", "lang", "group")
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in names}
    table = pa.table(
        {"row": pa.array(range(len(rows)), pa.int32()), **columns, "text": pa.array([row["text"] for row in rows], pa.large_string())}
    )
    pq.write_table(table, path, compression="zstd")
