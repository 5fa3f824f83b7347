#!/usr/bin/python3
"""`make bench`: volinit and its rivals side by side, on loop devices over memory; see CONTRIBUTING.md. This part starts
the other one, inside.py, in namespaces of its own, writes the report, and sees that no device is left."""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys

import plot
import report
import volumes

HERE = os.path.dirname(os.path.abspath(__file__))
# --kill-child: with unshare(1) ends process 1 of the new namespace, and with that one all that it started.
UNSHARE = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volinit", help="the binary")
    parser.add_argument("out", help="the folder that has the limits in bin/, and gets bench.md and bench.svg")
    parser.add_argument("--rounds", type=int, default=15, help="how often each runs; half as often for many volumes")
    parser.add_argument("--scenarios", default="", help="S1,S3,curve: these alone")
    parser.add_argument("--cloud-init", help="its program, which stays out where there is none")
    parser.add_argument("--volinit-ec2", help="the same with the feature ec2")
    parser.add_argument("--ebs-bootstrap", help="its program")
    given = parser.parse_args()
    given.scenarios = [name for name in given.scenarios.split(",") if name]
    known = list(report.TITLES)
    if unknown := [name for name in given.scenarios if name not in known]:
        parser.error(f"no such scenario: {', '.join(unknown)}: take some of {','.join(known)}")
    if given.rounds < 2:
        parser.error("--rounds: at least 2")
    if os.geteuid():
        parser.error("run it as root: it makes loop devices and mounts them")
    return given


def measured(given):
    """What inside.py finds, scenario by scenario."""
    # One at a time, since the devices are always the same; held by inside.py too, and no file is left.
    lock = os.open("/dev/shm", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("bench: another one is running on this machine") from None
    # Of one that was killed.
    volumes.remove_all()
    limits = os.path.join(given.out, "bin")
    programs = {name: os.path.join(limits, name) for name in os.listdir(limits)}
    programs |= {"volinit": given.volinit, "user-data.sh": os.path.join(HERE, "user-data.sh")}
    others = {"volinit-ec2": given.volinit_ec2, "ebs-bootstrap": given.ebs_bootstrap}
    programs |= {name: program for name, program in others.items() if program}
    cloud_init = given.cloud_init if given.cloud_init and os.path.exists(given.cloud_init) else None
    answer, asked = os.pipe()
    words = {
        "programs": {name: os.path.abspath(program) for name, program in programs.items()},
        "answer": asked, "rounds": given.rounds, "scenarios": given.scenarios, "udevd": bool(given.ebs_bootstrap),
        "cloud_init": cloud_init and os.path.abspath(cloud_init),
    }
    command = [*UNSHARE, sys.executable, "-B", os.path.join(HERE, "inside.py"), json.dumps(words)]
    child = subprocess.Popen(command, pass_fds=[asked, lock], stdin=subprocess.DEVNULL)
    os.close(asked)
    try:
        with open(answer) as lines:
            for line in lines:
                yield json.loads(line)
        if child.wait():
            raise SystemExit(f"bench: it ended early, with {child.returncode}")
    finally:
        child.kill()
        child.wait()
        volumes.remove_all()


def interrupted(number, _):
    raise SystemExit(f"bench: ended by {signal.Signals(number).name}")


def main():
    given = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    results = []
    for result in measured(given):
        print(report.table(result), flush=True)
        results.append(result)
    for name, text in [("bench.md", report.page(results, given)), ("bench.svg", plot.picture(results))]:
        path = os.path.join(given.out, name)
        with open(path, "w") as file:
            file.write(text)
        print(f"bench: {path}")
    if any(result["wrong"] for result in results):
        raise SystemExit("bench: what is marked `wrong` was no measurement")


main()
