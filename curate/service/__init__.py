"""The service: submits the runs that a person would type, watches them, and tells how they went.

It is thin. State lies in a database, corpora stay in the workspace, and every run is a `curate run` of its own that goes on
when the service does not. From bottom to top: `settings`, `state`, `pipelines` and `allowed`, `launchers`, `runs`, `watch`,
`auth`, `api`.
"""
