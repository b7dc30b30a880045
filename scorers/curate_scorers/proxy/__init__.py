"""Evidence from small models: tokens, packed rows, a proxy model and its trainer, measures, and a gate.

The trainer is meant to be read: `sizes`, `model` (with `attention`, `projections` and `pointwise`, which write out what is slow otherwise),
`losses`, `optimizers`, `schedule`, `batches`, and the loop, `train`. The rest are operators around it, which need no torch to be declared:
`train_tokenizer`, `tokenize`, `pack` and `export_tokens` make what it reads, `train_proxy` and `proxy_trials` run it, `evaluate_proxy`
measures what it made, and `proxy_compare` judges.
"""
