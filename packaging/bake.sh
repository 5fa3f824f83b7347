#!/bin/bash
# Bakes volinit and a config into a system's root folder: `bake.sh ROOT CONFIG PACKAGE.deb`. ROOT is a folder with a Debian
# in it, or / for the one that runs. No volume is looked at. It can be repeated, with another config or package.
set -euo pipefail

fail() {
    echo "bake: $*" >&2
    exit 1
}

if [ $# != 3 ]; then
    echo "usage: $0 ROOT CONFIG PACKAGE.deb" >&2
    exit 2
fi
root=$1 config=$2 package=$3
[ "$(id -u)" = 0 ] || fail "run it as root: it installs a package into $root"
[ -e "$root/var/lib/dpkg/status" ] || fail "$root has no Debian in it: there is no $root/var/lib/dpkg/status"
[ -f "$config" ] || fail "there is no config at $config"
[ "$(dpkg-deb --field "$package" Package 2>/dev/null)" = volinit ] || fail "$package is no package of volinit"
command -v systemctl >/dev/null || fail "systemctl is missing, which enables the units"
root=$(realpath "$root")

echo "== Installing $package into $root"
dpkg --root="$root" --install "$package"

# The binary is static, so that of ROOT runs here too.
volinit=$root/usr/bin/volinit
to=$root/etc/volinit/volinit.yaml
[ "$config" -ef "$to" ] || install -m 644 "$config" "$to"
checked=$("$volinit" --root "$root" check) || fail "$config is wrong, and nothing is enabled: $checked"
echo "$checked"

"$volinit" --root "$root" render

# `the config is right: 2 volumes: kafka, postgres`
names=$(sed -n 's/^the config is right: [0-9]* volumes\{0,1\}: //p' <<<"$checked")
[ -n "$names" ] || fail "the config has no volumes"
for name in ${names//,/}; do
    systemctl --root="$root" enable "volinit@$name.service"
done
