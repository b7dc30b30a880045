"""The service over HTTP: JSON under `/api/v1`, pages, and what machines ask of it."""
