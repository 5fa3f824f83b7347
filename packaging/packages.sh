#!/bin/bash
# Makes the packages of a binary: `packages.sh BINARY DIR` leaves a .deb, an .rpm and a systemd-sysext image in DIR.
# The binary is taken as it is, neither built nor stripped here.
set -euo pipefail

binary=$(realpath -e "$1")
mkdir -p "$2"
out=$(realpath -e "$2")
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

# As cargo-deny.sh does it: compiled from source, once for this user, and unoptimised, which is a minute and not ten.
for tool in cargo-deb cargo-generate-rpm; do
    if ! command -v "$tool" >/dev/null; then
        echo "== Building $tool, once"
        CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug "$tool"
    fi
done

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
case $(uname -m) in
    x86_64) architecture=x86-64 ;; # systemd's name
    aarch64) architecture=arm64 ;;
    *) echo "packages.sh: volinit is not made for $(uname -m)" >&2; exit 1 ;;
esac

# All files of all packages, as they will lie below /. Cargo.toml names this folder.
stage=target/packaging
tree=$stage/tree
rm -rf "$stage"

put() {
    install -D -m "${3-644}" "$1" "$tree$2"
}
zipped() {
    put "$1" "$2"
    gzip -9n "$tree$2"
}
put "$binary" /usr/bin/volinit 755
for unit in volinit.service volinit@.service volinit-grow.service volinit-grow.timer; do
    put "systemd/$unit" "/usr/lib/systemd/system/$unit"
done
zipped packaging/man/volinit.8 /usr/share/man/man8/volinit.8
zipped packaging/man/volinit.yaml.5 /usr/share/man/man5/volinit.yaml.5
put packaging/completions/volinit /usr/share/bash-completion/completions/volinit
put packaging/completions/_volinit /usr/share/zsh/vendor-completions/_volinit
put packaging/completions/volinit.fish /usr/share/fish/vendor_completions.d/volinit.fish
doc=/usr/share/doc/volinit
put README.md $doc/README.md
zipped CHANGELOG.md $doc/changelog
put docs/volinit-json.schema.json $doc/volinit-json.schema.json
put packaging/volinit.yaml $doc/examples/volinit.yaml
put systemd/release.conf $doc/examples/release.conf

# The .deb. The changes themselves are in the changelog; Debian wants its own, of the package, beside it.
cat >"$stage/changelog.Debian" <<END
volinit ($version-1) unstable; urgency=medium

  * Made by volinit's own build; changelog.gz has what changed.

 -- The volinit authors <maintainers@volinit.invalid>  $(date -R)
END
cargo deb --quiet --no-build --no-strip --fast --compress-type gz --compress-system --output "$stage/volinit.deb" >/dev/null
# cargo-deb packs files and links alone. These folders belong to the package, and no file in them. And it writes a field
# without a value, which Debian's policy forbids, where nothing is depended on.
dpkg-deb --raw-extract "$stage/volinit.deb" "$stage/deb"
mkdir -p "$stage/deb/etc/volinit/conf.d"
sed -i '/^Depends: *$/d' "$stage/deb/DEBIAN/control"
dpkg-deb --root-owner-group -Zxz --build "$stage/deb" "$out" >/dev/null

# Without dpkg's names. What Debian has in /usr/share/common-licenses, the others bring along.
put packaging/copyright $doc/copyright
mkdir "$stage/licenses"
cp LICENSE LICENSE-APACHE LICENSE-MIT /usr/share/common-licenses/{GPL-3,LGPL-2.1,MPL-2.0} "$stage/licenses"

cargo generate-rpm --output "$out"

# The image for /etc/extensions, which holds /usr alone. A static binary goes with any system, which systemd 252 knows as
# `_any`. A systemd that knows EXTENSION_RELOAD_MANAGER reads the units as they appear; an older one passes over it.
# https://www.freedesktop.org/software/systemd/man/latest/systemd-sysext.html
# https://github.com/flatcar/sysext-bakery/pull/49
ln -s ../../../bin/volinit "$stage/generator"
install -d "$tree/usr/lib/systemd/system-generators" "$tree/usr/share/licenses" "$tree/usr/lib/extension-release.d"
mv "$stage/generator" "$tree/usr/lib/systemd/system-generators/volinit-generator"
cp -r "$stage/licenses" "$tree/usr/share/licenses/volinit"
cat >"$tree/usr/lib/extension-release.d/extension-release.volinit" <<END
ID=_any
ARCHITECTURE=$architecture
EXTENSION_RELOAD_MANAGER=1
END
# Named as the extension-release is: systemd asks for that.
mksquashfs "$tree" "$out/volinit.raw" -all-root -noappend -quiet -no-progress
rm -rf "$stage"
