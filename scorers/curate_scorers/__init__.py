"""Scorers with models: fastText, language models, embeddings."""

OPERATORS: dict[str, str] = {}
