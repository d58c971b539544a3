#!/usr/bin/env bash
# Usage: clients.sh
#
# Puts clients that the tests use into the user's cache, once: ldapts from npm's
# registry, and nslcd and SSSD from Debian's packages. These two are unpacked and
# not installed, because installed they would take part in this machine's sign-in.
# What cannot be had is said loudly, and is a failure if CI is set.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dirgate/clients
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9

shout() {
	{
		echo "=========================================================================="
		printf '%s\n' "$@"
		echo "=========================================================================="
	} >&2
	[ -z "${CI:-}" ] || exit 1
}

# fetch DIR STAMP COMMAND fills a folder, unless its stamp says that it is full.
# Commands end with their first failure themselves: bash does not do it in a
# condition.
fetch() {
	[ "$(cat "$cache/$1/stamp" 2>/dev/null)" = "$2" ] && return
	echo "fetching clients for the tests into $cache/$1" >&2
	rm -rf "${cache:?}/$1"
	mkdir -p "$cache/$1"
	(cd "$cache/$1" && "$3" </dev/null >&2 && echo "$2" >stamp)
}

locked=$PWD/e2e/testdata/clients/node
from_npm() {
	cp "$locked/package.json" "$locked/package-lock.json" . &&
		npm ci --ignore-scripts --no-audit --no-fund
}

packages=(nslcd libnss-ldapd libpam-ldapd sssd-ldap libnss-sss libpam-sss)
download() {
	apt-get -qq -y --no-install-recommends --download-only -o Dir::Cache::archives="$PWD/archives" \
		-o APT::Sandbox::User=root install "${packages[@]}"
}
from_debian() {
	mkdir -p archives/partial root/{etc,usr,var} || return
	download || { apt-get -qq update && download; } || return
	local archive
	for archive in archives/*.deb; do
		[ ! -e "$archive" ] || dpkg-deb -x "$archive" root || return
	done
	# The system's /lib is a link into /usr, but not in every package.
	[ ! -d root/lib ] || cp -a root/lib root/usr/ || return
	rm -rf archives root/lib
}

if ! command -v npm >/dev/null || ! fetch node "$(sha256sum <"$locked/package-lock.json")" from_npm; then
	shout "npm could not install ldapts." "Without it, the test with that client is SKIPPED."
fi
if [ "$(id -u)" -ne 0 ] || [ ! -e /etc/debian_version ] ||
	! fetch debian "$(cat /etc/debian_version) ${packages[*]}" from_debian; then
	shout "nslcd and SSSD could not be unpacked: that takes root on Debian." "Without them, the tests with these clients are SKIPPED."
fi
