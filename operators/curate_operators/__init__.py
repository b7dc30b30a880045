"""The operators that `curate` ships: one class each, grouped with their kin."""

OPERATORS = {
    "exact_dedup": "curate_operators.exact_dedup:ExactDedup",
    "expect": "curate_operators.expect:Expect",
    "extract_html": "curate_operators.extract:ExtractHtml",
    "gopher_quality": "curate_operators.gopher:GopherQuality",
    "language": "curate_operators.language:Language",
    "length": "curate_operators.length:Length",
    "normalize": "curate_operators.normalize:Normalize",
    "sample": "curate_operators.sample:Sample",
    "url_blocklist": "curate_operators.url_blocklist:UrlBlocklist",
    "where": "curate_operators.where:Where",
}
