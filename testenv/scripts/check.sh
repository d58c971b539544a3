#!/usr/bin/env bash
# Checks that need no test: format, module file, vet, staticcheck, known
# vulnerabilities.
set -euo pipefail
cd "$(dirname "$0")/../.."

step() { echo "--- $*"; }

step gofmt
mapfile -t unformatted < <(find . -name '*.go' -not -path './.git/*' -exec gofmt -l {} +)
if [ ${#unformatted[@]} -gt 0 ]; then
	printf 'not formatted (run gofmt -w): %s\n' "${unformatted[@]}" >&2
	exit 1
fi

step go mod tidy
go mod tidy -diff

step go vet
go vet ./...

step staticcheck
go tool staticcheck ./...

# The database of vulnerabilities is on the network. Not reaching it says
# nothing about the code and is no failure; anything else that goes wrong is.
step govulncheck
status=0
report=$(timeout 300 go tool govulncheck ./... 2>&1) || status=$?
if [ $status -eq 0 ]; then
	echo "$report" | tail -n 1
elif [ $status -eq 124 ] || grep -q 'fetching vulnerabilities' <<<"$report"; then
	{
		echo "=========================================================================="
		echo "SKIPPED: govulncheck could not reach its database (status $status):"
		echo "$report" | tail -n 3
		echo "=========================================================================="
	} >&2
else
	echo "$report" >&2
	exit 1
fi
