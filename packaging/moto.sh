#!/bin/bash
# Installs moto, an EC2 that nobody here wrote, into a folder of the build's own: `moto.sh DIR`. tests/ebs starts it.
set -euo pipefail
dir=$1
version=5.2.5
[ ! -x "$dir/bin/moto_server" ] || [ "$(cat "$dir/version" 2>/dev/null)" != "$version" ] || exit 0
echo "== Installing moto $version into $dir"
# Debian's own python: another one first in PATH may be without venv.
/usr/bin/python3 -m venv --clear "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check "moto[ec2,server]==$version"
echo "$version" >"$dir/version"
