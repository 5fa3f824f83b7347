"""Loop devices over files in memory, and what is put on them before each round. Touches no device but its own: numbers
from `FIRST` on, which nobody asks the kernel for."""

import ctypes
import fcntl
import os
import re
import shutil
import subprocess
import time

GIB = 1 << 30
# The numbers of our loop devices; `losetup --find` takes the lowest free one, far below.
FIRST, MANY = 700, 64
IMAGES = "/run/bench/images"
# How mkfs is told to be quiet, and to write to a file.
QUIETLY = {"ext4": ["-q", "-F"], "xfs": ["-q"], "btrfs": ["-q"]}
# Where a superblock has its UUID.
UUID_AT = {"ext4": 1024 + 0x68, "xfs": 32, "btrfs": 65536 + 0x20}

# linux/loop.h, linux/fs.h
LOOP_SET_FD, LOOP_CLR_FD, LOOP_SET_CAPACITY, LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C00, 0x4C01, 0x4C07, 0x4C80, 0x4C81
BLKFLSBUF = 0x1261

libc = ctypes.CDLL(None, use_errno=True)


def run(*command):
    """A tool whose failure is ours."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command)}: {done.stdout.decode(errors='replace').strip()}")


def ask(path, request, argument=0):
    """An ioctl on what is opened for it alone."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(file, request, argument)
    finally:
        os.close(file)


class Volume:
    """One loop device, its file, and the folder that it shall be mounted at."""

    def __init__(self, index):
        self.number = FIRST + index
        self.index = index
        self.node = f"/dev/loop{self.number}"
        self.at = f"/mnt/v{index}"
        self.image = f"{IMAGES}/v{index}"
        self.size = 0
        ask("/dev/loop-control", LOOP_CTL_ADD, self.number)
        os.mknod(self.node, 0o60660, os.makedev(7, self.number))
        with open(self.image, "wb") as image:
            image.truncate(GIB)
            with open(self.node, "r+b", buffering=0) as node:
                fcntl.ioctl(node, LOOP_SET_FD, image.fileno())

    def resize(self, size):
        """The device becomes that large, as a volume of EC2 does."""
        if size != self.size:
            os.truncate(self.image, size)
            ask(self.node, LOOP_SET_CAPACITY)
            self.size = size

    def blank(self, size):
        """Zeros that take no memory; what the kernel has cached of the device is dropped."""
        os.truncate(self.image, 0)
        os.truncate(self.image, self.size)
        self.resize(size)
        self.drop_cache()

    def fill(self, filesystem, size):
        """A filesystem that was mounted once before, of a UUID of its own: the same each time, since a mount of XFS
        costs more with each that came before it."""
        template = self.template(filesystem, size)
        self.blank(size)
        copy_data(template, self.image)
        self.drop_cache()

    def template(self, filesystem, size):
        path = f"{IMAGES}/{filesystem}-{size // GIB}-{self.index}"
        if not os.path.exists(path):
            made = self.made(filesystem, size)
            self.blank(size)
            copy_data(made, self.image)
            os.unlink(made)
            # What the kernel does at the first mount alone.
            os.makedirs(self.at, exist_ok=True)
            run("mount", "-t", filesystem, self.node, self.at)
            unmount(self.at)
            self.drop_cache()
            run("cp", "--sparse=always", self.image, path)
        return path

    def made(self, filesystem, size):
        """What mkfs writes by default that is not zero, as a sparse file."""
        path = f"{IMAGES}/made-{filesystem}-{size // GIB}-{self.index}"
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.truncate(size)
            run(f"mkfs.{filesystem}", *QUIETLY[filesystem], path)
            run("fallocate", "--dig-holes", path)
        return path

    def drop_cache(self):
        ask(self.node, BLKFLSBUF)

    def uuid(self, filesystem):
        """As the file has it now."""
        with open(self.image, "rb") as image:
            return os.pread(image.fileno(), 16, UUID_AT[filesystem])

    def moved(self):
        """Bytes read from the device and written to it so far (Documentation/block/stat.rst: sectors of 512)."""
        with open(f"/sys/block/loop{self.number}/stat") as file:
            fields = file.read().split()
        return int(fields[2]) * 512, int(fields[6]) * 512


def copy_data(source, target):
    """Writes what is not a hole."""
    with open(source, "rb") as from_, open(target, "r+b") as to:
        at = 0
        while True:
            try:
                at = os.lseek(from_.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(from_.fileno(), at, os.SEEK_HOLE)
            while at < end:
                at += os.pwrite(to.fileno(), os.pread(from_.fileno(), min(1 << 20, end - at), at), at)


def mounts():
    """Mount point to device and type, of ours. The device's number is no help: btrfs has one of its own."""
    table = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            if re.fullmatch(r"/mnt/v\d+", fields[4]):
                kind, device = fields[fields.index("-") + 1:][:2]
                table[fields[4]] = (device, kind)
    return table


def unmount(at):
    """Somebody may have it open for a moment yet."""
    for _ in range(200):
        if libc.umount2(at.encode(), 0) == 0:
            return
        time.sleep(0.01)
    raise SystemExit(f"bench: {at} cannot be unmounted: {os.strerror(ctypes.get_errno())}")


def unmount_all():
    for at in reversed(mounts()):
        unmount(at)
    for name in os.listdir("/mnt"):
        os.rmdir(f"/mnt/{name}")


def remove_all():
    """Detaches and removes our loop devices, however the run ended. What is mounted in a namespace that is just going
    away keeps its device for a moment."""
    for number in range(FIRST, FIRST + MANY):
        node = f"/dev/loop{number}"
        for _ in range(500):
            if not os.path.exists(f"/sys/block/loop{number}"):
                break
            # Where /dev is no devtmpfs.
            made = not os.path.exists(node)
            try:
                if made:
                    os.mknod(node, 0o60600, os.makedev(7, number))
                if os.path.exists(f"/sys/block/loop{number}/loop/backing_file"):
                    ask(node, LOOP_CLR_FD)
                ask("/dev/loop-control", LOOP_CTL_REMOVE, number)
            except OSError:
                time.sleep(0.01)
            finally:
                if made and os.path.exists(node):
                    os.unlink(node)
        else:
            print(f"bench: {node} is still in use: `losetup --detach` it")


def scratch():
    shutil.rmtree(IMAGES, ignore_errors=True)
    os.makedirs(IMAGES)
