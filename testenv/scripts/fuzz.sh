#!/usr/bin/env bash
# Usage: fuzz.sh TIME
#
# Runs every fuzz target of the repository, one after the other, for TIME each
# (a duration of Go: 30s). An input that fails is kept under testdata/fuzz.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The fuzzer of Go reports "context deadline exceeded" when its time ends while a
# worker is at work, with no failing input; on a busy machine that happens. It
# says nothing about the code, so such a target is run again, aloud, up to twice.
run() {
	local try out status
	for try in 1 2 3; do
		status=0
		out=$(go test -run '^$' -fuzz "^$1\$" -fuzztime "$2" "$3" 2>&1) || status=$?
		echo "$out"
		[ $status -eq 0 ] && return 0
		if ! grep -q '^    context deadline exceeded$' <<<"$out" || grep -q 'Failing input written' <<<"$out"; then
			return 1
		fi
		echo "AGAIN: $1 ended with its time and without a failing input (try $try)" >&2
	done
	return 1
}

targets=0
while IFS= read -r dir; do
	# Read, not asked of go test -list, which compiles everything once more
	# without the fuzzer's instruments.
	list=$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$dir"/*_test.go)
	for name in $list; do
		echo "fuzz $dir $name for $1"
		run "$name" "$1" "$dir"
		targets=$((targets + 1))
	done
done < <(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u)
echo "$targets fuzz targets run"
[ $targets -gt 0 ]
