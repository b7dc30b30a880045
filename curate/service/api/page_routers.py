"""The routers of all pages."""

from __future__ import annotations

from curate.service.api import (
    page_api,
    page_datasets,
    page_pipelines,
    page_proofs,
    page_schedule_form,
    page_schedules,
    page_tokens,
    pages,
    static,
)

_MODULES = (static, pages, page_datasets, page_pipelines, page_schedules, page_schedule_form, page_proofs, page_tokens, page_api)
PAGES = tuple(module.router for module in _MODULES)
