#!/bin/bash
# Puts the tools that check cloud-config/ into a folder of the build's own: `checkers.sh DIR`. tests/cloud_config.rs runs
# them: cfn-lint, python-hcl2, and of Debian's cloud-init and ignition what looks at a config. Those two packages are not
# installed: on a machine with systemd they would do their work at its next boot.
set -euo pipefail
dir=$1
wheels=(cfn-lint==1.58.0 python-hcl2==8.1.4)
# What Debian's cloud-init needs to look at a config.
wheels+=(configobj==5.0.9 Jinja2==3.1.6 jsonpatch==1.47 jsonschema==4.26.0 oauthlib==4.0.1 PyYAML==6.0.3 requests==2.34.2)
debs=(cloud-init ignition)
wanted="${wheels[*]} ${debs[*]}"
[ "$(cat "$dir/wanted" 2>/dev/null)" != "$wanted" ] || exit 0
echo "== Installing $wanted into $dir"
# Debian's own python: another one first in PATH may be without venv.
/usr/bin/python3 -m venv --clear "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check "${wheels[@]}"

cd "$dir"
fetch() {
    apt-get -qq -o APT::Sandbox::User=root download "${debs[@]}"
}
# The lists of a fresh machine are empty.
fetch 2>/dev/null || { apt-get -qq update && fetch; }
for deb in *.deb; do
    dpkg -x "$deb" debian
    rm "$deb"
done
ln -s ../debian/usr/bin/ignition-validate bin/
cat >bin/cloud-init <<'END'
#!/bin/sh
bin=$(dirname "$(readlink -f "$0")")
PYTHONPATH=$bin/../debian/usr/lib/python3/dist-packages exec "$bin/python" -m cloudinit.cmd.main "$@"
END
chmod +x bin/cloud-init
echo "$wanted" >wanted
