"""One scenario: what a round begins with, the run that is timed, and the look at what it left. What is wrong in the end
is an error of that contestant's, never a figure."""

import os
import re
import shutil
import subprocess
import time
from collections import namedtuple

import contestants
import volumes
from contestants import AGAIN, FORMAT, GROW, MOUNT, BIN
from volumes import GIB

# `way` is what is timed. `before` is what the same contestant did then, untimed: nothing, `mounted` them, or mounted
# them before the machine was `rebooted`. `only` names those who take part, where not all do.
Scenario = namedtuple("Scenario", "name title way filesystem size count before only")
FILESYSTEMS = ("ext4", "xfs", "btrfs")
CURVE = ("limit", "volinit", "user-data script", "systemd-makefs + growfs")
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C"}
SAID = "/run/bench/said"


def scenarios(grows_ext4):
    """All of them, in order."""
    small, large = 2 * GIB, 100 * GIB

    def each(name, title, way, size=small, count=1, before=None, only=None, of=FILESYSTEMS):
        return [Scenario(name, title, way, filesystem, size, count, before, only) for filesystem in of]

    growing = FILESYSTEMS if grows_ext4 else FILESYSTEMS[1:]
    return [
        *each("S1", "formatted to mounted, on a new machine", MOUNT),
        *each("S1b", "formatted to mounted, at that machine's next boot", MOUNT, before="rebooted"),
        *each("S2", "mounted already, nothing to do", AGAIN, before="mounted"),
        *each("S3", "blank to mounted, 2 GiB", FORMAT),
        *each("S3", "blank to mounted, 100 GiB", FORMAT, size=large),
        *each("S4", "mounted, and the device grew from 2 to 4 GiB", GROW, before="mounted", of=growing),
        *each("S5", "eight blank to mounted", FORMAT, count=8),
        *each("S6", "eight formatted to mounted, on a new machine", MOUNT, count=8),
        *each("S6b", "eight formatted to mounted, at that machine's next boot", MOUNT, count=8, before="rebooted"),
        *(scenario
          for count in (1, 2, 4, 8, 16, 32, 64)
          for scenario in each("curve", f"{count} formatted to mounted", MOUNT, count=count, only=CURVE, of=["ext4"])),
    ]


def reset_machine(rebooted=False):
    """A machine that nobody was told anything on; or, `rebooted`, one that lost /run alone."""
    for entry in os.scandir("/run"):
        if entry.name not in ("bench", "udev"):
            shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)
    os.makedirs("/run/blkid")
    if not rebooted:
        for folder in ("/etc/systemd/system", "/var/lib/volinit"):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
        contestants.write("/etc/fstab", "")


def prepare(scenario, contestant, disks):
    """What the round begins with; gives the command."""
    volumes.unmount_all()
    reset_machine()
    for disk in disks:
        if scenario.way == FORMAT:
            disk.blank(scenario.size)
        else:
            disk.fill(scenario.filesystem, scenario.size)
    settle(disks)
    if scenario.before:
        run(contestant.commands(MOUNT, scenario.filesystem, disks))
    if scenario.before == "rebooted":
        volumes.unmount_all()
        for disk in disks:
            disk.drop_cache()
        reset_machine(rebooted=True)
    if scenario.way == GROW:
        for disk in disks:
            disk.resize(2 * scenario.size)
        settle(disks)
    return contestant.commands(scenario.way, scenario.filesystem, disks)


def settle(disks):
    """Has udevd look at them, where there is one."""
    if os.path.exists("/run/udev/control"):
        for disk in disks:
            contestants.write(f"/sys/block/loop{disk.number}/uevent", "change")
        volumes.run("udevadm", "settle")


def run(command):
    """Times it. Gives milliseconds, of the CPU too, and MiB; a failure is `Wrong`."""
    answer, asked = os.pipe()
    with open(SAID, "wb") as said, open(answer) as answer:
        words = [f"{BIN}/run", str(asked), *command]
        subprocess.run(words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=[asked],
                       check=True)
        os.close(asked)
        status, nanoseconds, user, system, memory = map(int, answer.read().split())
    if status:
        raise Wrong(f"it ended with status {status:#x}")
    return {"wall": nanoseconds / 1e6, "cpu": (user + system) / 1e3, "memory": memory / 1024}


class Wrong(Exception):
    """What a contestant did not do; with what it said last."""

    def __str__(self):
        with open(SAID, errors="replace") as said:
            return f"{self.args[0]}: {said.read()[-300:].strip()}"


def look(scenario, contestant, disks, uuids):
    """Whether all is as it was asked for."""
    mounted = volumes.mounts()
    for disk in disks:
        if mounted.get(disk.at) != (disk.node, scenario.filesystem):
            raise Wrong(f"{disk.at} is {mounted.get(disk.at)}")
        # What the filesystem keeps for itself is less than a tenth.
        found = os.statvfs(disk.at)
        if not 0.9 * disk.size < found.f_blocks * found.f_frsize <= disk.size:
            raise Wrong(f"{disk.at} has {found.f_blocks * found.f_frsize} of {disk.size} bytes")
        if scenario.way != FORMAT and disk.uuid(scenario.filesystem) != uuids[disk.index]:
            raise Wrong(f"{disk.at} is another filesystem than before")
        unit = f"/etc/systemd/system/mnt-v{disk.index}.mount"
        if contestant.unit and not os.path.exists(unit):
            raise Wrong(f"{unit} is not there")


def processes(command):
    """How many it starts, beside itself: counted in a run that is not timed. Threads are none."""
    trace = "/run/bench/trace"
    with open(SAID, "wb") as said:
        traced = ["strace", "-f", "-qq", "-o", trace, "-e", "trace=fork,vfork,clone,clone3", *command]
        done = subprocess.run(traced, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    if done.returncode:
        raise Wrong(f"it ended with {done.returncode} under strace")
    begun, started = {}, 0
    with open(trace, errors="replace") as lines:
        for line in lines:
            process, call = line.split(maxsplit=1)
            # Another process's line may cut a call in two: the flags stand in the first half, the result in the second.
            if call.rstrip().endswith("<unfinished ...>"):
                begun[process] = call
                continue
            if call.startswith("<..."):
                call = begun.pop(process, "") + call
            started += "CLONE_THREAD" not in call and re.search(r"= \d+$", call) is not None
    return started


def measure(scenario, everybody, disks, rounds):
    """All of them, once a round, in an order that is turned by one each round."""
    can = [one for one in everybody if scenario.way in one.ways and one.name in (scenario.only or [one.name])]
    found = {one.name: {"wall": [], "cpu": [], "memory": [], "read": [], "written": []} for one in can}
    wrong = {}

    def once(one, timed):
        command = prepare(scenario, one, disks)
        uuids = {disk.index: disk.uuid(scenario.filesystem) for disk in disks}
        with one.within(disks):
            before = [disk.moved() for disk in disks]
            got = run(command) if timed else {"processes": processes(command)}
            after = [disk.moved() for disk in disks]
        look(scenario, one, disks, uuids)
        if timed:
            got["read"] = sum(now[0] - then[0] for then, now in zip(before, after))
            got["written"] = sum(now[1] - then[1] for then, now in zip(before, after))
        return got

    def attempt(one, timed):
        try:
            return once(one, timed)
        except (Wrong, subprocess.SubprocessError) as error:
            wrong[one.name] = str(error)
            return None

    began = time.monotonic()
    for one in can:
        if got := attempt(one, timed=False):
            found[one.name].update(got)
    for turn in range(rounds):
        for place in range(len(can)):
            one = can[(turn + place) % len(can)]
            if one.name in wrong:
                continue
            for key, value in (attempt(one, timed=True) or {}).items():
                found[one.name][key].append(value)
    volumes.unmount_all()
    good = {name: figures for name, figures in found.items() if name not in wrong}
    return {**scenario._asdict(), "rounds": rounds, "found": good, "wrong": wrong, "took": time.monotonic() - began}
