#!/usr/bin/env bash
# Usage: need.sh [--required] REASON COMMAND:PACKAGES...
#
# Makes sure that commands exist. COMMAND is a program, a file (with a slash) or
# python:MODULE; PACKAGES are Debian's, separated by commas. What is missing is
# installed with apt when this runs as root on Debian; no service is started.
# Otherwise it says loudly what is missing and what that costs (REASON), and
# succeeds, unless --required is given or CI is set.
set -euo pipefail

required=${CI:+yes}
if [ "$1" = --required ]; then
	required=yes
	shift
fi
reason=$1
shift

# Programs of the system's administrator are not on everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

have() {
	case $1 in
	python:*) /usr/bin/python3 -c "import ${1#python:}" >/dev/null 2>&1 ;;
	*/*) [ -e "$1" ] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

missing=() packages=()
for want in "$@"; do
	if ! have "${want%:*}"; then
		missing+=("${want%:*}")
		IFS=, read -ra more <<<"${want##*:}"
		packages+=("${more[@]}")
	fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

shout() {
	{
		echo "=========================================================================="
		printf '%s\n' "$@"
		echo "=========================================================================="
	} >&2
}

if [ "$(id -u)" -eq 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; then
	echo "installing ${packages[*]} (missing: ${missing[*]})" >&2
	# Packages start their services through policy-rc.d; 101 forbids it.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f $policy' EXIT
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	export DEBIAN_FRONTEND=noninteractive
	if { apt-get -qq update && apt-get -qq -y --no-install-recommends install "${packages[@]}"; } </dev/null >&2; then
		exit 0
	fi
	shout "apt could not install ${packages[*]}." "$reason"
else
	shout "Missing: ${missing[*]}" "Install on Debian as root: apt-get install ${packages[*]}" "$reason"
fi
[ -z "$required" ]
