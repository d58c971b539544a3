#!/usr/bin/env bash
# Usage: fuzz.sh TIME
#
# Runs every fuzz target of the repository, one after the other, for TIME each
# (a duration of Go: 30s). An input that fails is kept under testdata/fuzz.
set -euo pipefail
cd "$(dirname "$0")/../.."

targets=0
while IFS= read -r dir; do
	list=$(go test -list '^Fuzz' "$dir") # on its own, so that a failure ends the script
	for name in $(grep '^Fuzz' <<<"$list"); do
		echo "fuzz $dir $name for $1"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$1" "$dir"
		targets=$((targets + 1))
	done
done < <(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u)
echo "$targets fuzz targets run"
[ $targets -gt 0 ]
