#!/bin/sh
# Usage: system.sh DIR UNPACKED COMMAND...
#
# Runs a program where /etc, /usr and /var have what is in DIR and in UNPACKED
# over them, and /run is empty. It must be started in a mount namespace of its
# own, and so changes nothing outside.
set -eu
dir=$1 unpacked=$2
shift 2
mount -t tmpfs tmpfs "$dir/over"
for part in etc usr var; do
	mkdir "$dir/over/$part" "$dir/over/$part.work"
	mkdir -p "$dir/$part"
	mount -t overlay overlay -o "lowerdir=$dir/$part:$unpacked/$part:/$part,upperdir=$dir/over/$part,workdir=$dir/over/$part.work" "/$part"
done
mount -t tmpfs -o mode=755 tmpfs /run
exec "$@"
