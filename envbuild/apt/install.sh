#!/bin/sh
# Installs Debian packages that are in this script's directory, as root of the sandbox, without network.
#
# `first.tar` holds the files of dpkg, which cannot unpack itself, and of all else that maintainer scripts count on
# without a dependency. Each line of `plan` is `unpack FILE...` or `configure NAME...`. The arguments are
# options for dpkg.
set -eu
umask 022
here=${0%/*}
mkdir -p /var/lib/dpkg/alternatives /var/lib/dpkg/parts /var/lib/dpkg/updates
tar --extract --no-same-owner --file="$here/first.tar" --directory=/
cd "$here"
while read -r action packages; do
    # Names and options hold neither spaces nor patterns: they were checked.
    # shellcheck disable=SC2086
    dpkg "$@" "--$action" $packages
done < "$here/plan"
dpkg "$@" --configure --pending
broken=$(dpkg --audit)
if [ -n "$broken" ]; then
    echo "$broken"
    exit 1
fi
