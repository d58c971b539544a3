#!/usr/bin/env bash
# Usage: test.sh [GO TEST ARGUMENTS]
#
# Installs what the tests can use and runs them all, or those named.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin # samba

testenv/scripts/need.sh "Without it, tests against a real Active Directory domain controller are SKIPPED." \
	samba:samba,samba-ad-dc samba-tool:samba,samba-ad-dc,python3-samba \
	/usr/share/samba/setup/provision.ldif:samba-ad-provision \
	/usr/lib/"$(uname -m)"-linux-gnu/samba/ldb/samba_dsdb.so:samba-dsdb-modules,samba-vfs-modules \
	ldbmodify:ldb-tools
testenv/scripts/need.sh "Without it, tests with real LDAP clients are SKIPPED." \
	ldapsearch:ldap-utils python:ldap3:python3-ldap3 python:ldap:python3-ldap javac:default-jdk-headless \
	node:nodejs npm:npm apache2:apache2-bin pamtester:pamtester
testenv/scripts/clients.sh
testenv/scripts/need.sh "Without it, tests of the user portal in a real browser are SKIPPED." chromium:chromium,fonts-dejavu-core
testenv/scripts/need.sh "Without a C compiler the tests run WITHOUT the race detector." \
	gcc:gcc,libc6-dev

race=-race
command -v gcc >/dev/null || race=
# The whole-program tests take longest and mostly wait. Named first they start
# first, and the others run beside them: go test starts packages, and prints
# their results, in the order in which they are named.
if [ $# -eq 0 ]; then
	echo "The tests of ./testenv/e2e start first; their result and all others are printed when they have ended, after some minutes."
	set -- ./testenv/e2e ./...
fi
# make check vets, so vet does not go through all packages here once more.
exec go test $race -vet=off -p 2 -timeout 20m "$@"
