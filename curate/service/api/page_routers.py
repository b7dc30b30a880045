"""The routers of all pages."""

from __future__ import annotations

from curate.service.api import page_datasets, page_pipelines, page_proofs, page_tokens, pages, static

PAGES = (static.router, pages.router, page_datasets.router, page_pipelines.router, page_proofs.router, page_tokens.router)
