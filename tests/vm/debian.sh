#!/bin/bash
# Makes, once, the disk of a real Debian 12 that tests/vm boots where systemd itself is what is tested: systemd, udev,
# cloud-init, and what is put on volumes, from Debian's packages, under Debian's cloud kernel, and a small initramfs.
#
#     debian.sh DIR                  makes DIR/debian.img (ext4), DIR/debian.cpio and DIR/kernel, unless they are there
#     debian.sh DIR PAYLOAD OUT      then OUT, the initramfs of one run: what is in the folder PAYLOAD is copied over
#                                    the root before systemd starts, so that the first boot sees it
set -euo pipefail
dir=$1
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C
for tool in busybox cpio depmod dpkg-deb mke2fs mmdebstrap modprobe; do
    command -v "$tool" >/dev/null || { echo "tests/vm: $tool is missing (\`make deps\` installs all)" >&2; exit 1; }
done
"$here/build.sh" "$dir"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d "$dir/debian.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root

pack() { (cd "$1" && find . | cpio --quiet --create --format newc --owner 0:0); }

packages=systemd,systemd-sysv,udev,dbus,kmod,util-linux,mount,e2fsprogs,xfsprogs,btrfs-progs,iproute2,procps
packages+=,cloud-init,postgresql,nfs-common,nfs-kernel-server,redis-server

# The slow part, a tar of its own: a change below does not fetch anything again.
debootstrap() {
    local exclude=(--dpkgopt='path-exclude=/usr/share/'{doc,man,locale,info}'/*') log=$work/log
    # No cluster that starts by itself: the one that a test makes lies on its volume.
    mmdebstrap --quiet --variant=minbase --include="$packages" --aptopt='Acquire::Languages "none"' "${exclude[@]}" \
        --essential-hook='mkdir -p "$1/etc/postgresql-common"' \
        --essential-hook='echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
        bookworm "$work/debian.tar" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    mv "$work/debian.tar" "$dir/debian.tar"
    echo "$packages" >"$dir/debian.packages"
}

# What a machine of the cloud does not need, and costs seconds under emulation. What a test needs of it a payload's
# own file brings back.
masked=(
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service systemd-logind.service
    systemd-random-seed.service systemd-update-utmp.service systemd-update-utmp-runlevel.service
    systemd-journal-flush.service systemd-tmpfiles-clean.timer systemd-pstore.service systemd-sysctl.service
    systemd-binfmt.service systemd-sysusers.service systemd-modules-load.service ldconfig.service
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount
    proc-sys-fs-binfmt_misc.automount modprobe@efi_pstore.service modprobe@dm_mod.service modprobe@loop.service
    modprobe@fuse.service modprobe@configfs.service modprobe@drm.service mdmonitor.service postgresql.service
)

image() {
    local modules unit etc=$root/etc/systemd/system
    mkdir -p "$root"
    tar -C "$root" --exclude='./dev/*' -xf "$dir/debian.tar"
    dpkg-deb -x "$dir/linux.deb" "$work/kernel"
    modules=$(basename "$work"/kernel/lib/modules/*)
    mv "$work/kernel/lib/modules" "$root/usr/lib/"
    depmod -b "$root" "$modules"
    echo node >"$root/etc/hostname"
    : >"$root/etc/fstab"
    # With one, this is no first boot: systemd presets nothing.
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
    for unit in "${masked[@]}"; do ln -sf /dev/null "$etc/$unit"; done
    # Installed, and started by who needs it.
    rm -f "$root"/usr/lib/systemd/system/multi-user.target.wants/dbus.service
    rm -f "$etc"/{multi-user,remote-fs,sockets}.target.wants/{nfs-client.target,nfs-server.service,redis-server.service,rpcbind.s*}
    printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf"
    # A test's shell: it is there before anything else, and outlives what fails.
    install "$here/agent" "$root/usr/local/sbin/agent"
    cat >"$etc/agent.service" <<-'UNIT'
	[Unit]
	DefaultDependencies=no
	IgnoreOnIsolate=yes
	[Service]
	ExecStart=/usr/local/sbin/agent
	StandardOutput=null
	StandardError=null
	UNIT
    mkdir -p "$etc/sysinit.target.wants"
    ln -s ../agent.service "$etc/sysinit.target.wants/"
    mke2fs -q -t ext4 -L root -d "$root" -E lazy_itable_init=1 "$work/debian.img" 2500M >"$work/log"
}

initramfs() {
    local new=$work/initramfs modules module
    modules=$(basename "$root"/usr/lib/modules/*)
    mkdir -p "$new"/{bin,dev,proc,sys,new,modules}
    cp "$(command -v busybox)" "$new/bin/busybox"
    # modprobe of kmod tells, in the order of loading, what a module needs.
    for module in virtio_pci virtio_blk; do
        modprobe -d "$root/usr" -S "$modules" --show-depends "$module"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r file; do
        cp "$file" "$new/modules/"
        basename "$file"
    done >"$new/modules/order"
    cat >"$new/init" <<-'INIT'
	#!/bin/busybox sh
	b=/bin/busybox
	$b mount -t proc proc /proc
	$b mount -t sysfs sys /sys
	$b mount -t devtmpfs dev /dev
	while read -r module; do $b insmod "/modules/$module"; done </modules/order
	# Others may be virtio disks too; this one's serial number is "root".
	until disk=$($b grep -lx root /sys/block/vd*/serial 2>/dev/null); do $b usleep 20000; done
	disk=${disk%/serial}
	$b mount -t ext4 -o noatime "/dev/${disk##*/}" /new
	[ ! -d /payload ] || $b cp -a /payload/. /new/
	$b umount /sys
	$b mount -o move /dev /new/dev
	$b mount -o move /proc /new/proc
	exec $b switch_root /new /sbin/init "$@"
	INIT
    chmod 755 "$new/init"
    pack "$new" >"$work/debian.cpio"
}

# Two test runs at once build one after the other.
exec 9>"$dir/debian.lock"
flock 9
key=$(cat "$here/debian.sh" "$here/agent" "$dir/linux.deb" | sha256sum)
if [ "$(cat "$dir/debian.key" 2>/dev/null)" != "$key" ]; then
    [ "$(cat "$dir/debian.packages" 2>/dev/null)" = "$packages" ] || debootstrap
    image
    initramfs
    mv "$work/debian.img" "$work/debian.cpio" "$dir/"
    # Last: it says that all is there.
    echo "$key" >"$dir/debian.key"
fi

if [ $# -eq 3 ]; then
    mkdir "$work/run"
    cp -a "$2" "$work/run/payload"
    { cat "$dir/debian.cpio" && pack "$work/run"; } >"$work/out"
    mv "$work/out" "$3"
fi
