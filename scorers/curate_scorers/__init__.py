"""Scorers with models: fastText, language models, embeddings."""

OPERATORS = {
    "fasttext": "curate_scorers.fasttext_score:FastText",
    "perplexity_correlations": "curate_scorers.perplexity_correlations:PerplexityCorrelations",
}
