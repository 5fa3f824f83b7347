"""The part of the benchmark that runs in namespaces of its own, where it is process 1: /dev, /run and /mnt are empty,
what is written to /etc and /var/lib goes to memory, and all is gone with this process. Started by bench.py, for which
it writes a line of JSON about each scenario."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import contestants
import ec2
import measure
import volumes

# linux/capability.h
CAP_SYS_RESOURCE = 24
NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "loop-control": (10, 237),
         "btrfs-control": (10, 234)}


def mount(*words):
    volumes.run("mount", *words)


def make_machine(given):
    """Empty folders, and in /run/bench the programs."""
    mount("-t", "tmpfs", "tmpfs", "/run")
    os.makedirs(contestants.BIN)
    for name, source in given["programs"].items():
        shutil.copy(source, f"{contestants.BIN}/{name}")
    if given["cloud_init"]:
        os.symlink(given["cloud_init"], contestants.CLOUD_INIT)
    for folder in ("etc", "var/lib"):
        parts = [f"/run/bench/{name}/{folder}" for name in ("upper", "work")]
        for part in parts:
            os.makedirs(part)
        options = f"lowerdir=/{folder},upperdir={parts[0]},workdir={parts[1]}"
        mount("-t", "overlay", "overlay", "-o", options, f"/{folder}")
    mount("-t", "tmpfs", "tmpfs", "/mnt")
    os.makedirs("/etc/systemd/system", exist_ok=True)
    mount("-t", "tmpfs", "tmpfs", "/etc/systemd")
    shutil.rmtree("/etc/volinit", ignore_errors=True)

    # The disks of the machine have no name in there.
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/dev")
    for name, (major, minor) in NODES.items():
        os.mknod(f"/dev/{name}", 0o20666, os.makedev(major, minor))
    os.symlink("/proc/self/fd", "/dev/fd")
    volumes.scratch()


def make_cloud_init():
    """What it does before its modules, once."""
    contestants.write_cloud_config()
    done = subprocess.run([contestants.CLOUD_INIT, "init"], env=measure.ENVIRONMENT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if not os.path.exists("/run/bench/cloud/instance/obj.pkl"):
        print(f"bench: cloud-init stays out: {done.stdout.decode(errors='replace')[-300:]}", file=sys.stderr)
        os.unlink(contestants.CLOUD_INIT)


def start_udevd():
    """For who asks lsblk, which knows a filesystem from udev's database alone."""
    os.makedirs("/run/udev")
    subprocess.Popen(["/lib/systemd/systemd-udevd"], env=measure.ENVIRONMENT, stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists("/run/udev/control"):
        time.sleep(0.01)
    volumes.run("udevadm", "control", "--ping")


def can_grow_ext4():
    with open("/proc/self/status") as file:
        effective = next(line.split()[1] for line in file if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> CAP_SYS_RESOURCE & 1)


def main():
    given = json.loads(sys.argv[1])
    # Process 1 is sent nothing that it has no handler for.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os._exit(1))
    make_machine(given)
    if given["cloud_init"]:
        make_cloud_init()
    if given["udevd"]:
        start_udevd()
    measure.ENVIRONMENT.update(ec2.start())
    grows_ext4 = can_grow_ext4()
    if not grows_ext4:
        print("bench: S4 is without ext4, which grows while it is mounted only with CAP_SYS_RESOURCE", file=sys.stderr)
    everybody = contestants.everybody()
    disks = []
    with os.fdopen(given["answer"], "w", buffering=1) as answer:
        for scenario in measure.scenarios(grows_ext4):
            if given["scenarios"] and scenario.name not in given["scenarios"]:
                continue
            while len(disks) < scenario.count:
                disks.append(volumes.Volume(len(disks)))
            rounds = given["rounds"] if scenario.count < 8 else max(2, given["rounds"] // 2)
            result = measure.measure(scenario, everybody, disks[:scenario.count], rounds)
            answer.write(json.dumps(result) + "\n")


main()
