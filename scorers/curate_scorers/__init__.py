"""Scorers with models: fastText, language models, embeddings."""

OPERATORS = {
    "cluster": "curate_scorers.cluster:Cluster",
    "cluster_cards": "curate_scorers.cluster_cards:ClusterCards",
    "drop_clusters": "curate_scorers.drop_clusters:DropClusters",
    "embed": "curate_scorers.embed:Embed",
    "embed_hash": "curate_scorers.embed_hash:EmbedHash",
    "evaluate_proxy": "curate_scorers.proxy.evaluate_proxy:EvaluateProxy",
    "export_tokens": "curate_scorers.proxy.export_tokens:ExportTokens",
    "fasttext": "curate_scorers.fasttext_score:FastText",
    "lm_loss": "curate_scorers.lm_loss:LmLoss",
    "nearest_centroid": "curate_scorers.cluster_nearest:NearestCentroid",
    "pack": "curate_scorers.proxy.pack:Pack",
    "perplexity_correlations": "curate_scorers.perplexity_correlations:PerplexityCorrelations",
    "predictive_strength": "curate_scorers.predictive_strength:PredictiveStrength",
    "prototypes": "curate_scorers.prototypes:Prototypes",
    "sample_clusters": "curate_scorers.sample_clusters:SampleClusters",
    "semantic_dedup": "curate_scorers.semantic_dedup:SemanticDedup",
    "tokenize": "curate_scorers.proxy.tokenize:Tokenize",
    "train_fasttext": "curate_scorers.train_fasttext:TrainFastText",
    "train_proxy": "curate_scorers.proxy.train_proxy:TrainProxy",
    "train_tokenizer": "curate_scorers.proxy.train_tokenizer:TrainTokenizer",
}
