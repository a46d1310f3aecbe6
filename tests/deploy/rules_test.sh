#!/usr/bin/env bash
# deploy/prometheus against Prometheus' own checker: configuration, rules, alerts, and the rules' unit tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../deploy/prometheus"
command -v promtool >/dev/null || { echo "skipped: no promtool (Debian package prometheus)"; exit 77; }
promtool check config prometheus.yml
promtool check rules rules.yml alerts.yml
promtool test rules tests.yml
# The configuration for containers names the same two files, beside itself once mounted.
DIR="$(mktemp -d)"
trap 'rm -rf "$DIR"' EXIT
cp rules.yml alerts.yml ../container/prometheus.yml "$DIR"
promtool check config "$DIR/prometheus.yml"
