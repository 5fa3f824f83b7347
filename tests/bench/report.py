"""The tables, and what they were measured on. Reads what measure.py found; measures nothing."""

import datetime
import os
import platform
import re
import statistics
import subprocess

# The scenarios, by the name that SCENARIOS= takes.
TITLES = {
    "S1": "Formatted to mounted, on a new machine",
    "S1b": "Formatted to mounted, at that machine's next boot",
    "S2": "Mounted already: nothing to do",
    "S3": "Blank to mounted",
    "S4": "Mounted, and the device grew from 2 to 4 GiB",
    "S5": "Eight blank to mounted",
    "S6": "Eight formatted to mounted, on a new machine",
    "S6b": "Eight formatted to mounted, at that machine's next boot",
    "curve": "Cost as work grows",
}
HEAD = ["", "ms", "p10..p90", "x limit", "x mkfs", "CPU ms", "MiB", "processes", "read", "written"]
BARE = "mkfs + mount(2)"


def median(result, name, key="wall"):
    """`None` where that one did not take part."""
    figures = result["found"].get(name)
    return statistics.median(figures[key]) if figures else None


def at(figures, part):
    """The nearest of those measured."""
    return sorted(figures)[min(len(figures) - 1, round(part * (len(figures) - 1)))]


def size(count):
    """Bytes, short."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f}"


def row(result, name):
    figures = result["found"][name]
    mine = median(result, name)
    limit, bare = median(result, "limit"), median(result, BARE)
    return [
        name, f"{mine:.2f}", f"{at(figures['wall'], .1):.2f}..{at(figures['wall'], .9):.2f}",
        f"{mine / limit:.2f}" if limit else "", f"{mine / bare:.2f}" if bare else "",
        f"{median(result, name, 'cpu'):.2f}", f"{max(figures['memory']):.1f}", str(figures["processes"]),
        size(median(result, name, "read")), size(median(result, name, "written")),
    ]


def heading(result):
    return f"{result['name']}: {result['title']}: {result['filesystem']}"


def table(result):
    """Markdown, its columns in line, the quickest first; and who did something else than was asked for."""
    names = sorted(result["found"], key=lambda name: median(result, name))
    rows = [HEAD, *(row(result, name) for name in names)]
    # Without mkfs nothing is compared with it.
    if BARE not in result["found"]:
        rows = [[cell for index, cell in enumerate(cells) if index != HEAD.index("x mkfs")] for cells in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = [f"### {heading(result)} ({result['rounds']} rounds)", ""]
    for cells in rows:
        first, *rest = [(cell, width) for cell, width in zip(cells, widths)]
        texts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        lines.append(f"| {' | '.join(texts)} |")
    lines += [f"\nwrong: {name}: {why}" for name, why in result["wrong"].items()]
    return "\n".join(lines) + "\n"


def said(*command):
    """A tool's own word on its version: the first line with a number."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return "none"
    return next((line.strip() for line in done.stdout.splitlines() if re.search(r"\d", line)), "unknown")


def processor():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"model name\s*: (.*)", file.read())
    return found.group(1) if found else platform.machine()


def versions(given):
    tools = [
        f"{said(given.volinit, '--version')} ({os.path.getsize(given.volinit):,} bytes)",
        said("mkfs.ext4", "-V"), said("mkfs.xfs", "-V"), said("mkfs.btrfs", "--version"),
        said("systemctl", "--version"), said("blkid", "--version"),
    ]
    if given.volinit_ec2:
        tools.insert(1, f"with ec2 {os.path.getsize(given.volinit_ec2):,} bytes")
    if given.cloud_init and os.path.exists(given.cloud_init):
        # Its own path comes first, on as many lines as that takes.
        words = subprocess.run([given.cloud_init, "--version"], capture_output=True, text=True).stdout.split()
        tools.append(f"cloud-init {' '.join(words[-1:])}")
    return ", ".join(tools)


def page(results, given):
    """The whole of bench.md."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    command = f"make bench ROUNDS={given.rounds}"
    if given.scenarios:
        command += f" SCENARIOS={','.join(given.scenarios)}"
    if given.volinit_ec2:
        command += " VOLINIT_EC2=PROGRAM"
    seconds = sum(result["took"] for result in results)
    return f"""# volinit and its rivals, side by side

Medians of what each took from its start to its end, on the same loop devices over memory, in a turned order, so that
whatever else the machine does hits all alike. `x limit` is against a static C program that does the scenario's system
calls and checks nothing (`tests/bench/c/`: `mount`, `mounted`, `replay`, `grow`), `x mkfs` against mkfs by default and
mount(2). CPU and the largest memory are of the program and of what it started, processes are those that it started
beside itself, read and written are the devices' own counts. After each run it was looked at whether each volume was
mounted, of the right type, size and UUID, and whether the unit file of `limit` and `volinit` was there. What is written
to /etc lies in memory, so that a disk's time for it is not in the figures. `volinit with ec2` is the build that can ask
EC2, and has nothing to ask; `volinit, EC2 asked` asks it before a first format, and it answers in about a millisecond.

{datetime.date.today()}, in {seconds:.0f} s, load {load} at the end. {os.cpu_count()} cores, {processor()},
Linux {platform.release()}; {versions(given)}.

    {command}

{chr(10).join(table(result) for result in results)}"""
