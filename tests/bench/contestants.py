"""Who takes part, and by which commands. What makes the command for a way (mount, again, format, grow) also writes the
config that it needs, before it is timed."""

import contextlib
import json
import os

import ec2

BIN = "/run/bench/bin"
CLOUD_INIT = "/run/bench/cloud-init"
MAKEFS, GROWFS = "/lib/systemd/systemd-makefs", "/lib/systemd/systemd-growfs"

# What is done with a volume.
MOUNT, AGAIN, FORMAT, GROW = "mount", "again", "format", "grow"


class Contestant:
    """`commands` gives the command for a way, a type of filesystem and the volumes; `ways` is what it can do, `unit`
    whether it leaves a unit file, `within` what the volumes are put into meanwhile."""

    def __init__(self, name, commands, ways=(MOUNT, AGAIN, FORMAT, GROW), unit=False, within=contextlib.nullcontext):
        self.name, self.commands, self.ways, self.unit, self.within = name, commands, ways, unit, within


def pairs(volumes):
    return [word for volume in volumes for word in (volume.node, volume.at)]


def limit(way, filesystem, volumes):
    if way == MOUNT:
        return [f"{BIN}/mount", *pairs(volumes)]
    if way == AGAIN:
        return [f"{BIN}/mounted", *(volume.at for volume in volumes)]
    if way == GROW:
        return [f"{BIN}/grow", filesystem, volumes[0].node, volumes[0].at]
    made = ((volume.made(filesystem, volume.size), volume.node, volume.at) for volume in volumes)
    return [f"{BIN}/replay", filesystem, *(word for three in made for word in three)]


def mkfs(_, filesystem, volumes):
    return [f"{BIN}/mkfs", filesystem, *pairs(volumes)]


def volinit(program="volinit", source=lambda volume: f"device: {volume.node}"):
    def commands(_, filesystem, volumes):
        text = "volumes:\n"
        for volume in volumes:
            text += f"  v{volume.index}:\n    source: {{ {source(volume)} }}\n"
            text += f"    filesystem: {{ type: {filesystem} }}\n    mount: {volume.at}\n"
        write("/etc/volinit/volinit.yaml", text)
        return [f"{BIN}/{program}", "up"]

    return commands


def as_ebs(volume):
    return f"ebs: {ec2.volume_id(volume)}, attach: true"


def user_data(_, filesystem, volumes):
    return ["/bin/bash", f"{BIN}/user-data.sh", filesystem, *pairs(volumes)]


def chain(commands):
    words = []
    for command in commands:
        words += ([";"] if words else []) + command
    return [f"{BIN}/chain", *words]


def systemd(way, filesystem, volumes):
    """What fstab's x-systemd.makefs and x-systemd.growfs start. Growing an ext4 that is large enough already asks for
    the capability too, and fails without it."""
    commands = []
    for volume in volumes:
        os.makedirs(volume.at, exist_ok=True)
        if way in (MOUNT, FORMAT):
            commands += [[MAKEFS, filesystem, volume.node], ["mount", "-t", filesystem, volume.node, volume.at]]
        commands += [[GROWFS if way == GROW else f"-{GROWFS}", volume.at]]
    return chain(commands)


def mount_utils(way, filesystem, volumes):
    """The commands that k8s.io/mount-utils starts (mount_linux.go, resizefs_linux.go): FormatAndMount, NeedResize, and
    Resize where that says so. What is mounted is not formatted nor mounted again."""
    commands = []
    for volume in volumes:
        os.makedirs(volume.at, exist_ok=True)
        look = ["blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", volume.node]
        # It exits with 2 for what is blank, and fsck with 1 for what it repaired.
        if way == FORMAT:
            options = {"ext4": ["-F", "-m0"], "xfs": ["-f"], "btrfs": ["-f"]}[filesystem]
            commands += [["-blkid", *look[1:]], [f"mkfs.{filesystem}", *options, volume.node]]
        if way == MOUNT:
            commands += [look, ["-fsck", "-a", volume.node]]
        if way in (MOUNT, FORMAT):
            commands += [["mount", "-t", filesystem, "-o", "defaults", volume.node, volume.at]]
        commands += [["blockdev", "--getsize64", volume.node], look, {
            "ext4": ["dumpe2fs", "-h", volume.node],
            "xfs": ["xfs_io", "-c", "statfs", volume.at],
            "btrfs": ["btrfs", "inspect-internal", "dump-super", "-f", volume.node],
        }[filesystem]]
        if way == GROW:
            commands += [{
                "ext4": ["resize2fs", volume.node],
                "xfs": ["xfs_growfs", "-d", volume.at],
                "btrfs": ["btrfs", "filesystem", "resize", "max", volume.at],
            }[filesystem]]
    return chain(commands)


def cloud_init(_, filesystem, volumes):
    """The modules disk_setup and mounts alone, in one process. `partition: ""` has it look with blkid at the disk
    itself; its default, `any`, asks lsblk, which believes udev, and formats what that has not seen yet."""
    setup = [{"device": volume.node, "filesystem": filesystem, "partition": ""} for volume in volumes]
    write_cloud_config(setup, [[volume.node, volume.at, filesystem, "defaults,nofail", "0", "2"] for volume in volumes])
    return [CLOUD_INIT, "modules", "--mode=init"]


def write_cloud_config(setup=(), entries=()):
    write("/etc/cloud/cloud.cfg", json.dumps({
        "datasource_list": ["None"],
        "network": {"config": "disabled"},
        "preserve_hostname": True,
        "users": [],
        "cloud_init_modules": [["disk_setup", "always"], ["mounts", "always"]],
        "cloud_config_modules": [],
        "cloud_final_modules": [],
        "system_info": {
            "distro": "debian",
            "paths": {"cloud_dir": "/run/bench/cloud", "run_dir": "/run/bench/cloud-run"},
        },
        "fs_setup": list(setup),
        "mounts": list(entries),
    }))


def ebs_bootstrap(_, filesystem, volumes):
    text = "defaults:\n  mode: force\n  resize: true\ndevices:\n"
    for volume in volumes:
        text += f"  {volume.node}:\n    fs: {filesystem}\n    mountPoint: {volume.at}\n"
    write("/etc/ebs-bootstrap/config.yml", text)
    return [f"{BIN}/ebs-bootstrap", "-config", "/etc/ebs-bootstrap/config.yml"]


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def everybody():
    """All whose programs are here."""
    all_ = [
        Contestant("limit", limit, unit=True),
        Contestant("volinit", volinit(), unit=True),
        Contestant("mkfs + mount(2)", mkfs, ways=(FORMAT,)),
        Contestant("user-data script", user_data),
        Contestant("systemd-makefs + growfs", systemd),
        Contestant("mount-utils' commands", mount_utils),
    ]
    if os.path.exists(CLOUD_INIT):
        # Its growpart and resizefs grow the root alone.
        all_.append(Contestant("cloud-init", cloud_init, ways=(MOUNT, AGAIN, FORMAT)))
    if os.path.exists(f"{BIN}/volinit-ec2"):
        # What it costs who asks nobody; and what EC2's word that a volume is new brings to its first format.
        all_.append(Contestant("volinit with ec2", volinit("volinit-ec2"), unit=True))
        asked = volinit("volinit-ec2", as_ebs)
        all_.append(Contestant("volinit, EC2 asked", asked, ways=(FORMAT,), unit=True, within=ec2.plugged))
    if os.path.exists(f"{BIN}/ebs-bootstrap"):
        all_.append(Contestant("ebs-bootstrap", ebs_bootstrap))
    return all_
