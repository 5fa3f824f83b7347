#!/bin/bash
# Makes the superblocks that the target `superblock_patched` begins with, by the real tools. They are committed, so
# that an input means the same on every machine; this is how they came to be, and how another is added.
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
uuid=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0
disk=$(mktemp)
trap 'rm -f "$disk"' EXIT

# make NAME OFFSET LENGTH COMMAND…: the superblock alone, cut out of a sparse disk.
make() {
    local name=$1 offset=$2 length=$3
    shift 3
    truncate -s 0 "$disk"
    truncate -s 320M "$disk"
    "$@" "$disk" >/dev/null
    dd if="$disk" of="$name.bin" bs=1 skip="$offset" count="$length" status=none
}
make ext4 1024 1024 mkfs.ext4 -q -F -L data -U $uuid -E hash_seed=$uuid
make ext4-no-checksum 1024 1024 mkfs.ext4 -q -F -O ^metadata_csum -U $uuid -E hash_seed=$uuid
make ext4-bigalloc 1024 1024 mkfs.ext4 -q -F -O bigalloc -U $uuid -E hash_seed=$uuid
make xfs 0 512 mkfs.xfs -q -L data -m uuid=$uuid
make xfs-4 0 512 mkfs.xfs -q -m crc=0,uuid=$uuid
make btrfs 65536 4096 mkfs.btrfs -q -L data -U $uuid
