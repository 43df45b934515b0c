#!/bin/sh
# Makes or mends ZenML's local stack in the data home; options: --reset, --env, --help.
set -eu
cd "$(dirname "$0")/.."
if [ ! -x .venv/bin/python ]; then
    echo "setup_zenml.sh: .venv is missing: run 'make setup' first" >&2
    exit 1
fi
exec .venv/bin/python -m pipelines.stack "$@"
