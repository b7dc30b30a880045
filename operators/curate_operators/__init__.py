"""The operators that `curate` ships: one class each, grouped with their kin."""

OPERATORS = {
    "boilerplate_lines": "curate_operators.boilerplate_lines:BoilerplateLines",
    "c4_lines": "curate_operators.c4:C4Lines",
    "c4_page": "curate_operators.c4:C4Page",
    "code_quality": "curate_operators.code:CodeQuality",
    "exact_dedup": "curate_operators.exact_dedup:ExactDedup",
    "expect": "curate_operators.expect:Expect",
    "extract_html": "curate_operators.extract:ExtractHtml",
    "fineweb_quality": "curate_operators.fineweb:FinewebQuality",
    "gopher_quality": "curate_operators.gopher:GopherQuality",
    "gopher_repetition": "curate_operators.gopher:GopherRepetition",
    "language": "curate_operators.language:Language",
    "length": "curate_operators.length:Length",
    "normalize": "curate_operators.normalize:Normalize",
    "pii": "curate_operators.redact:Pii",
    "redact": "curate_operators.redact:Redact",
    "remove_lines": "curate_operators.remove_lines:RemoveLines",
    "sample": "curate_operators.sample:Sample",
    "url_blocklist": "curate_operators.url_blocklist:UrlBlocklist",
    "where": "curate_operators.where:Where",
    "word_blocklist": "curate_operators.word_blocklist:WordBlocklist",
}
