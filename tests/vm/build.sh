#!/bin/bash
# Makes what tests/vm boots: Debian's own cloud kernel, and an initramfs with busybox, the modules and the tools of
# the three filesystems. The package is unpacked, not installed: /boot and /lib/modules stay as they are.
#
#     build.sh DIR                     makes DIR/kernel and DIR/base.cpio, unless they are there
#     build.sh DIR VOLINIT INIT OUT    then OUT, the initramfs of one run: base.cpio and these two files behind it
set -euo pipefail
dir=$1
tools=(mke2fs e2fsck resize2fs debugfs mkfs.xfs xfs_repair mkfs.btrfs btrfs)
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
for tool in busybox cpio depmod dpkg-deb ldd strip qemu-system-x86_64 "${tools[@]}"; do
    command -v "$tool" >/dev/null || { echo "tests/vm: $tool is missing (\`make deps\` installs all)" >&2; exit 1; }
done
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d "$dir/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# cpio: newc is what the kernel unpacks. Uncompressed: unpacking is emulated too, and reading is not.
pack() { (cd "$1" && find . | cpio --quiet --create --format newc --owner 0:0); }

kernel() {
    # The lists of a fresh machine are empty, those of an old one name versions that are gone. Else they will do.
    fetch >"$work/log" 2>&1 || { apt-get update && fetch; } >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    dpkg-deb -x "$work"/linux-image-*.deb "$work/kernel"
    # debian.sh takes all of its modules.
    mv "$work"/linux-image-*.deb "$dir/linux.deb"
}

fetch() {
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    # _apt, the user that downloads for root, cannot write here: apt warns and goes on as root.
    [ -n "$package" ] && (cd "$work" && apt-get download "$package")
}

base() {
    local root=$work/root modules tool
    modules=$(echo "$work"/kernel/lib/modules/*)
    mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,etc,var/lib,lib64,data} "$root/lib/modules"
    ln -s bin "$root/sbin"
    cp "$(command -v busybox)" "$root/bin/busybox"
    busybox --list | while read -r tool; do [ -e "$root/bin/$tool" ] || ln -s busybox "$root/bin/$tool"; done
    for tool in "${tools[@]}"; do
        tool=$(command -v "$tool")
        cp -L --remove-destination "$tool" "$root/bin/"
        # "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", and the loader, which stands alone.
        ldd "$tool" | grep -o '/[^ ]*' | while read -r library; do cp -Lu --parents "$library" "$root/"; done
    done
    ln -sf mke2fs "$root/bin/mkfs.ext4"
    cp /etc/mke2fs.conf "$root/etc/"
    # modprobe of kmod tells, in the order of loading, what a module needs.
    depmod -b "$work/kernel" "${modules##*/}"
    for module in xfs btrfs crc32c_generic crc32c_intel virtio_pci virtio_blk virtio_net nvme; do
        modprobe -d "$work/kernel" -S "${modules##*/}" --show-depends "$module" | sed -n 's/^insmod //p'
    done | sort -u | while read -r file; do
        install -D "$file" "$root/lib/modules/${file#"$work"/kernel/lib/modules/}"
    done
    cp "$modules"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/${modules##*/}/"
    depmod -b "$root" "${modules##*/}"
    pack "$root" >"$work/base.cpio"
    mv "$work/base.cpio" "$dir/base.cpio"
    # Last: it says that all is there.
    mv "$work"/kernel/boot/vmlinuz-* "$dir/kernel"
}

# Two test runs at once build one after the other.
exec 9>"$dir/lock"
flock 9
[ -e "$dir/kernel" ] && [ "$dir/base.cpio" -nt "$here/build.sh" ] || { kernel && base; }

if [ $# -eq 4 ]; then
    mkdir "$work/run" "$work/run/bin"
    strip -o "$work/run/bin/volinit" "$2"
    install "$3" "$work/run/init"
    { cat "$dir/base.cpio" && pack "$work/run"; } >"$work/out"
    mv "$work/out" "$4"
fi
