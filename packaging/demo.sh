#!/bin/bash
# `make demo` in three parts: start (what will be done), show (the demo itself), clean (undo it). Each can be repeated.
set -euo pipefail
cd "$(dirname "$0")/.."

image=/var/lib/volinit-demo.img
at=/mnt/demo
unit=/etc/systemd/system/mnt-demo.mount
wants=/etc/systemd/system/local-fs.target.wants
record=/var/lib/volinit/volumes/demo.json

start() {
    cat <<END
volinit's demo. It installs what the build needs from Debian where it is missing, builds volinit in ./target,
and brings up one volume. On this machine it writes these, and touches no disk:
  $image   the volume: a sparse file, through a loop device
  $at                   the folder it is mounted on
  $unit, and the link in ${wants##*/} that enables it
  $record   which filesystem it was
\`make demo-clean\` takes all of it away again.

END
    need_root demo
    # An earlier demo, or half of one.
    if [ -e "$image" ] || [ -e "$unit" ] || [ -e "$record" ]; then
        echo "== A demo is here already"
        clean
    fi
}

show() {
    # Shown as typed, and run as shown.
    run() {
        printf '\n\e[1m# %s\e[0m\n' "$*"
        "$@"
    }
    [ -t 1 ] || run() {
        printf '\n# %s\n' "$*"
        "$@"
    }
    say() {
        printf '\n== %s\n' "$*"
    }

    say "The config: five lines"
    run cat packaging/demo.yaml

    say "What would be done, and why. Nothing is touched"
    run volinit plan --config packaging/demo.yaml

    say "Do it"
    run volinit up --config packaging/demo.yaml
    run volinit status --config packaging/demo.yaml
    run cat "$unit"
    echo "the data of a service" >"$at/data"

    say "The second time there is nothing to do"
    run volinit up --config packaging/demo.yaml

    say "The volume is made larger: a second config, merged over the first, says 512M"
    run cat packaging/demo-larger.yaml
    run volinit up --config packaging/demo.yaml --config packaging/demo-larger.yaml
    run df -h "$at"
    run cat "$at/data"

    say "Done. \`make demo-clean\` takes it all away again"
    echo "   volinit is in $(dirname "$(command -v volinit)")"
}

clean() {
    need_root demo-clean
    local source device

    # The top one of what is mounted there, as long as it is the demo's image.
    while source=$(findmnt --noheadings --first-only --output SOURCE --mountpoint "$at"); do
        if [ "$(losetup --noheadings --output BACK-FILE "${source%%\[*}" 2>/dev/null)" != "$image" ]; then
            echo "demo-clean: $at has $source mounted on it, which is not the demo's: left as it is" >&2
            exit 1
        fi
        umount "$at"
        echo "unmounted $at"
    done
    for device in $(losetup --noheadings --output NAME --associated "$image" 2>/dev/null); do
        losetup --detach "$device"
        echo "detached $device"
    done

    local path
    for path in "$wants/mnt-demo.mount" "$unit" "$image" "$record"; do
        if [ -e "$path" ] || [ -L "$path" ]; then
            rm -f "$path"
            echo "removed $path"
        fi
    done
    # Folders that volinit had to make; one with anything else in it stays.
    if [ -d "$at" ]; then
        rmdir "$at"
        echo "removed $at"
    fi
    rmdir --ignore-fail-on-non-empty "$wants" "${record%/*}" "${record%/*/*}" 2>/dev/null || true
    # The lock of volinit's writer, which a machine without a config of its own has from the demo alone.
    if ! compgen -G '/etc/volinit/*' >/dev/null && ! compgen -G '/run/volinit/*.yaml' >/dev/null; then
        rm -f /run/volinit/publish.lock
        rmdir --ignore-fail-on-non-empty /run/volinit 2>/dev/null || true
    fi
    # PID 1's own word: /run/systemd/system is there in many containers too.
    if [ "$(cat /proc/1/comm)" = systemd ]; then
        systemctl daemon-reload
    fi
    echo "The demo is gone."
}

need_root() {
    if [ "$(id -u)" != 0 ]; then
        echo "make $1: run it as root, as in: sudo env PATH=\"\$PATH\" make $1" >&2
        exit 1
    fi
}

case ${1-} in
    start | show | clean) "$1" ;;
    *) echo "usage: $0 start|show|clean" >&2; exit 2 ;;
esac
