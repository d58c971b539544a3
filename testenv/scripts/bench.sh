#!/usr/bin/env bash
# Usage: bench.sh [GO TEST ARGUMENTS]
#
# Runs every Go benchmark of the repository, one package after the other.
set -euo pipefail
cd "$(dirname "$0")/../.."
mapfile -t dirs < <(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -r -n1 dirname | sort -u)
exec go test -run '^$' -bench . -benchmem -p 1 "$@" "${dirs[@]}"
