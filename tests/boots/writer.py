"""Appends records to a file until it is told to stop. Each has its number and a checksum, and is synced before the next
one is begun. At its start it reads all that is there: a record that is missing or not whole is its end. What it found
goes to /run/NAME.found, and at the end the console learns how many there are."""
import os
import signal
import sys
import zlib

name, path = sys.argv[1:]
# Taken when a record is whole, and at no other time.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
number = 0
with open(path, "a+b") as file:
    file.seek(0)
    for line in file:
        said, check, data = line.split()
        assert (int(said), int(check, 16)) == (number, zlib.crc32(data)) and line.endswith(b"\n"), (number, line)
        number += 1
    with open(f"/run/{name}.found", "w") as found:
        found.write(f"{number}\n")
    while True:
        data = os.urandom(4000).hex().encode()
        file.write(b"%d %08x %s\n" % (number, zlib.crc32(data), data))
        file.flush()
        os.fsync(file.fileno())
        number += 1
        if signal.sigtimedwait([signal.SIGTERM], 0.05):
            break
with open("/dev/ttyS0", "w") as console:
    console.write(f"{name} wrote {number} records\n")
