#!/bin/bash
# Builds libblkid.a for musl into a folder: `libblkid.sh DIR`. Debian's own is for glibc, so this one is made of Debian's
# source, with Debian's patches and checked by apt's signatures. Needs no root.
set -euo pipefail
dir=$(realpath -m "$1")
[ ! -e "$dir/lib/pkgconfig/blkid.pc" ] || exit 0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log

if ! command -v apt-get >/dev/null; then
    echo "libblkid: this is no Debian: build the libblkid of util-linux for musl into $dir, as $0 does" >&2
    exit 1
fi
echo "== Building libblkid for musl, of Debian's source"

# apt's own sources, but for sources; lists and cache of its own, so that the machine's stay as they are.
mkdir -p "$scratch"/{parts,lists/partial,cache/archives/partial}
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    case $list in
        *.list) sed -n 's/^deb /deb-src /p' "$list" >"$scratch/parts/${list##*/}" 2>/dev/null || true ;;
        *.sources) sed 's/^Types:.*/Types: deb-src/' "$list" >"$scratch/parts/${list##*/}" ;;
    esac
done
fetch() {
    cd "$scratch"
    local own=(-o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$scratch/parts"
        -o "Dir::State::Lists=$scratch/lists" -o "Dir::Cache=$scratch/cache")
    # Somebody else's repository may have no sources; that those of util-linux are there shows next.
    apt-get "${own[@]}" update || true
    apt-get "${own[@]}" source util-linux
}
build() {
    # musl-gcc looks among musl's own headers alone; the kernel's are glibc's neighbours.
    local headers=$scratch/headers include=/usr/include
    mkdir "$headers"
    ln -s $include/{linux,asm-generic,mtd} "$include/$(gcc -print-multiarch)/asm" "$headers/"
    cd "$scratch"/util-linux-*/
    # Nothing that the machine happens to have is linked with it (PKG_CONFIG). Debian's patches are newer than what
    # automake made, and change nothing of it that counts here.
    ./configure --quiet --prefix="$dir" --sysconfdir=/etc --localstatedir=/var --runstatedir=/run \
        --disable-all-programs --enable-libblkid --disable-shared --disable-nls --disable-dependency-tracking \
        CC="musl-gcc -idirafter $headers" PKG_CONFIG=false \
        CFLAGS="-O2 -fPIC -fstack-protector-strong -ffunction-sections -fdata-sections"
    local as_it_is=(ACLOCAL=: AUTOCONF=: AUTOHEADER=: AUTOMAKE=:)
    make --quiet -j"$(nproc)" "${as_it_is[@]}" install
}
if ! { (fetch) && (build); } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    exit 1
fi
