#!/usr/bin/env bash
# Installs what the tests and the demo need: Debian packages, and the pinned Python tools in a virtual
# environment under the cache. Does nothing when everything is there.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$top/tests/env.sh"

die() { echo "setup: $*" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || die "needs root: the test bed makes mounts and containers. Run it with sudo."
[ -c /dev/fuse ] || die "/dev/fuse is missing: the bed mounts real FUSE file systems. Run 'modprobe fuse', or use a machine that has it."
. /etc/os-release
case "${ID:-}${VERSION_ID:-}" in debian12 | debian13) ;; *) echo "setup: made for Debian 12 and 13, this is ${PRETTY_NAME:-unknown}: going on" >&2 ;; esac

missing=()
while read -r package; do
    case "$package" in '' | '#'*) continue ;; esac
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done < "$top/tests/packages.txt"
if [ "${#missing[@]}" -gt 0 ]; then
    echo "setup: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# ansible-core 2.19 runs on Python 3.11 to 3.13: Debian 12 and 13 have one.
if [ ! -e "$ADT_VENV/.complete" ]; then
    echo "setup: installing the Python tools into $ADT_VENV"
    rm -rf "$ADT_VENV"
    mkdir -p "$(dirname "$ADT_VENV")"
    /usr/bin/python3 -m venv "$ADT_VENV"
    "$ADT_VENV/bin/pip" install --quiet --disable-pip-version-check -r "$top/requirements-dev.txt"
    touch "$ADT_VENV/.complete"
fi

# Ansible finds the collection only below ansible_collections/<namespace>/<name>.
mkdir -p "$ADT_TREE/ansible_collections/adt"
ln -sfn "$top" "$ADT_TREE/ansible_collections/adt/assets"
