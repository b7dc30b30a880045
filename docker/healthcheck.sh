#!/bin/sh
# Tells whether what the container was started for answers: the service, a Ray node or a server of a language model. Any other command
# is healthy while it runs. `curate-health [PID]` asks about the process PID, by default the container's first.
set -eu
command="$(tr '\0' ' ' < "/proc/${1:-1}/cmdline")"
answers() { wget --quiet --output-document=/dev/null --timeout=5 --tries=1 --no-check-certificate "$1"; }

case "$command" in
*"curate serve"*)
    port=8300
    answers "http://127.0.0.1:${CURATE_SERVICE_PORT:-$port}/healthz" || answers "https://127.0.0.1:${CURATE_SERVICE_PORT:-$port}/healthz"
    ;;
*"ray start"*)
    # Ray's own agent on this node, which KubeRay's probes ask as well.
    answers "http://127.0.0.1:${CURATE_RAY_AGENT_PORT:-52365}/api/local_raylet_healthz"
    ;;
*"llm serve"*)
    answers "http://127.0.0.1:${CURATE_LLM_PORT:-8000}/health"
    ;;
esac
