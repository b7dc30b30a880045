"""Scorers with models: fastText, language models, embeddings."""

OPERATORS = {
    "fasttext": "curate_scorers.fasttext_score:FastText",
}
