#!/bin/bash
# The script that user-data usually has: `user-data.sh TYPE DEVICE FOLDER [DEVICE FOLDER ...]`. It takes whatever blkid
# does not know for blank, and is here to be measured, not to be copied.
set -euo pipefail
type=$1
shift
while (($# >= 2)); do
    device=$1 folder=$2
    shift 2
    if ! blkid "$device" >/dev/null; then
        mkfs -t "$type" "$device" >/dev/null 2>&1
    fi
    mkdir -p "$folder"
    uuid=$(blkid -s UUID -o value "$device")
    grep -q "$uuid" /etc/fstab || echo "UUID=$uuid $folder $type defaults,nofail 0 2" >>/etc/fstab
    mountpoint -q "$folder" || mount "$device" "$folder"
    case $type in
        ext4) resize2fs "$device" >/dev/null 2>&1 ;;
        xfs) xfs_growfs -d "$folder" >/dev/null ;;
        btrfs) btrfs filesystem resize max "$folder" >/dev/null ;;
    esac
done
