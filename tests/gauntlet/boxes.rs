//! What holds other volumes: RAID, volume groups, encryption, caches, pools; and swap. Made by their tools; by
//! hand, from what libblkid 2.38 goes by (libblkid/src/superblocks/NAME.c), where the tool wants a kernel
//! module or is not in Debian 12.

use crate::case::{BYTES, Case, SIZE, disk};
use crate::rig::MIB;

const RAID: &str = "a member of a RAID or of a volume group";

pub fn cases() -> Vec<Case> {
    [md(), lvm_and_luks(), swap(), linux(), bios_raid(), pools()].into_iter().flatten().collect()
}

/// md(4). mdadm makes superblocks only through /dev/md, so these are its `struct mdp_super_s` and
/// `struct mdp_superblock_1` (Linux, `include/uapi/linux/raid/md_p.h`).
fn md() -> Vec<Case> {
    let last = (SIZE & !0xFFFF) - 0x1_0000;
    let end = SIZE - 8192;
    let word = format!("{RAID} (linux_raid_member");
    vec![
        disk("md-0.90").write(last, md_0(false)).says(&word),
        disk("md-0.90-big-endian").write(last, md_0(true)).says(&word),
        disk("md-1.0").write(end, md_1(end)).says(&word),
        disk("md-1.1").write(0, md_1(0)).says(&word),
        disk("md-1.2").write(4096, md_1(4096)).says(&word),
        // A mirror with the superblock at its end looks like its filesystem to whoever reads the head only.
        disk("md-1.0-over-ext4")
            .run("mkfs.ext4 -q -b 4096 $DISK 95000")
            .write(end, md_1(end))
            .says("which of them is meant can't be told"),
        disk("md-0.90-over-xfs")
            .run("mkfs.xfs -q -d size=376m $DISK")
            .write(last, md_0(false))
            .says("which of them is meant can't be told"),
        disk("md-1.2-moved").write(4096, md_1(8192)).says("the superblock of a Linux software RAID is at byte 4096"),
        disk("md-1.2-wiped").write(4096, md_1(4096)).run("wipefs --quiet --all $DISK").says(BYTES),
        disk("md-bitmap").write(8192, b"bitm\x04\0\0\0").says(BYTES),
    ]
}

fn md_0(big_endian: bool) -> Vec<u8> {
    let mut words = [0u32; 1024];
    // Magic, version 0.90.0, words that count, the first of the UUID; level 1, its size in KiB, two disks.
    (words[0], words[2], words[4], words[5]) = (0xA92B_4EFC, 90, 1024, 0x1234_5678);
    (words[7], words[8], words[9], words[10]) = (1, 393_152, 2, 2);
    words.into_iter().flat_map(|word| if big_endian { word.to_be_bytes() } else { word.to_le_bytes() }).collect()
}

fn md_1(at: u64) -> Vec<u8> {
    let mut block = vec![0; 256];
    block[..4].copy_from_slice(&0xA92B_4EFC_u32.to_le_bytes());
    block[4] = 1;
    block[16..32].copy_from_slice(&[0x11; 16]);
    block[32..40].copy_from_slice(b"host:pg0");
    block[72] = 1;
    block[92] = 2;
    block[128..136].copy_from_slice(&2048u64.to_le_bytes());
    block[144..152].copy_from_slice(&(at / 512).to_le_bytes());
    block
}

/// No devices file, and no disk looked at but this one: several of these run at a time.
const LVM: &str = "--quiet --yes --devices $DISK";

const LUKS: &str = "echo secret | cryptsetup luksFormat --batch-mode --pbkdf-force-iterations 1000";

fn lvm_and_luks() -> Vec<Case> {
    let lvm = format!("{RAID} (LVM2_member, at byte ");
    let luks = "an encrypted volume (crypto_LUKS, at byte 0)";
    let luks2 = format!("{LUKS} --type luks2 --pbkdf pbkdf2 $DISK -");
    vec![
        disk("lvm").run(format!("pvcreate {LVM} $DISK")).says(&lvm),
        disk("lvm-label-in-sector-0").run(format!("pvcreate {LVM} --labelsector 0 $DISK")).says(&lvm),
        disk("lvm-label-in-sector-3").run(format!("pvcreate {LVM} --labelsector 3 $DISK")).says(&lvm),
        disk("lvm-two-metadata-areas")
            .run(format!("pvcreate {LVM} --metadatacopies 2 $DISK\nvgcreate {LVM} gauntlet$$ $DISK"))
            .says(&lvm)
            .head(&lvm)
            .tail(BYTES),
        disk("lvm-volume-group").run(format!("pvcreate {LVM} $DISK\nvgcreate {LVM} gauntlet$$ $DISK")).says(&lvm),
        disk("lvm-wiped")
            .run(format!("pvcreate {LVM} $DISK\nvgcreate {LVM} gauntlet$$ $DISK\nwipefs --quiet --all $DISK"))
            .says(BYTES),
        disk("lvm-zeroed-label")
            .run(format!("pvcreate {LVM} $DISK\nvgcreate {LVM} gauntlet$$ $DISK"))
            .zero(0, 4096)
            .says(BYTES),
        disk("lvm-1").write(0, b"HM\x01\0").says("LVM1_member"),
        disk("luks1").run(format!("{LUKS} --type luks1 $DISK -")).says(luks).head(luks),
        disk("luks2").run(&luks2).says(luks).head(luks),
        disk("luks2-large-header")
            .run(format!("{LUKS} --type luks2 --pbkdf pbkdf2 --luks2-metadata-size 4m $DISK -"))
            .says(luks),
        disk("luks2-second-header-only").run(&luks2).zero(0, 16384).says("(crypto_LUKS, at byte 16384)"),
        disk("luks2-second-header-at-4-mib")
            .run(format!("{LUKS} --type luks2 --pbkdf pbkdf2 --luks2-metadata-size 4m $DISK -"))
            .zero(0, 4 * MIB)
            .says("(crypto_LUKS, at byte 4194304)"),
        disk("luks2-wiped").run(format!("{luks2}\nwipefs --quiet --all $DISK")).says("is not blank"),
        // With its header on another disk, nothing on this one tells that it is encrypted.
        disk("luks2-with-its-header-elsewhere").write(0, crate::stray::noise(7, 1 << 20)).says(BYTES),
        disk("luks2-over-ext4")
            .run("mkfs.ext4 -q $DISK")
            .zero(0, 1024)
            .write(16384, b"SKUL\xba\xbe\0\x02")
            .says("which of them is meant can't be told"),
    ]
}

fn swap() -> Vec<Case> {
    let swap = "something of another program's (swap, at byte 4086)";
    vec![
        disk("swap").run("mkswap $DISK").says(swap),
        disk("swap-labelled").run("mkswap -L swap $DISK").says(swap),
        disk("swap-64k-pages").run("mkswap -p 65536 $DISK").says("(swap, at byte 65526)"),
        disk("swap-8k-pages").run("mkswap -p 8192 $DISK").says("(swap, at byte 8182)"),
        // Linux, kernel/power/swap.c: `HIBERNATE_SIG` takes the place of the signature while the image waits.
        disk("swap-hibernated").run("mkswap $DISK").write(4086, b"S1SUSPEND\0").says("(swsuspend, at byte 4086)"),
        disk("swap-hibernated-by-uswsusp").run("mkswap $DISK").write(4086, b"ULSUSPEND\0").says("(swsuspend"),
        disk("swap-version-0").write(4086, b"SWAP-SPACE").says("(swap"),
        disk("swap-wiped").run("mkswap $DISK\nwipefs --quiet --all $DISK").says(BYTES),
    ]
}

fn linux() -> Vec<Case> {
    let drbd = "drbdmeta --force 255 v09 $DISK internal create-md 1";
    vec![
        disk("bcache-backing").run("make-bcache -B $DISK").says("(bcache, at byte 4120)"),
        disk("bcache-cache").run("make-bcache -C $DISK").says("(bcache, at byte 4120)"),
        disk("drbd-8").run("drbdmeta --force 255 v08 $DISK internal create-md").says(format!("{RAID} (drbd")),
        disk("drbd-9").run(drbd).says(format!("{RAID} (drbd")),
        disk("drbd-9-over-ext4")
            .run(format!("mkfs.ext4 -q -b 4096 $DISK 95000\n{drbd}"))
            .says("which of them is meant can't be told"),
        disk("dm-verity").run("veritysetup format $FILES/base $DISK").says("(DM_verity_hash, at byte 0)"),
        // Linux, drivers/md/dm-integrity.c: `struct superblock`.
        disk("dm-integrity").write(0, b"integrt\0\x04").says("(DM_integrity, at byte 0)"),
        disk("dm-snapshot").write(0, b"SnAp\x01").says("(DM_snapshot_cow, at byte 0)"),
        disk("ubi").run(UBI).says("(ubi, at byte 0)"),
        disk("bitlocker").write(0, b"\xeb\x58\x90-FVE-FS-").says(BYTES),
    ]
}

const UBI: &str = "printf '[v]\\nmode=ubi\\nimage=%s\\nvol_id=0\\nvol_size=4MiB\\nvol_type=dynamic\\nvol_name=v\\n' \
                   $FILES/base > $DIR/ini\nubinize -o $DIR/image -p 128KiB -m 2048 $DIR/ini\ncp $DIR/image $DISK";

/// Firmware RAID: its marks lie in the last sectors.
fn bios_raid() -> Vec<Case> {
    let from_end = |sectors: u64| SIZE - sectors * 512;
    vec![
        disk("intel-raid").write(from_end(2), b"Intel Raid ISM Cfg Sig. 1.3.00").says("(isw_raid_member"),
        disk("promise-raid").write(from_end(63), b"Promise Technology, Inc.").says("(promise_fasttrack_raid_member"),
        disk("lsi-raid").write(from_end(1), b"$XIDE$").says("(lsi_mega_raid_member"),
        disk("nvidia-raid").write(from_end(2), b"NVIDIA  \x60\0\0\0").says("is not blank"),
        disk("jmicron-raid").write(from_end(1), b"JM\x02\0").says("is not blank"),
        disk("highpoint-raid").write(4608 + 32, 0x5a78_16f0_u32.to_le_bytes()).says("is not blank"),
        disk("ddf-raid").write(from_end(1), 0xDE11_DE11_u32.to_be_bytes()).says("is not blank"),
    ]
}

/// Pools, stores and appliances.
fn pools() -> Vec<Case> {
    vec![
        zfs("zfs", &[0, 262_144, SIZE - 524_288, SIZE - 262_144]).says("(zfs_member"),
        zfs("zfs-first-labels-only", &[0, 262_144]).says("(zfs_member"),
        zfs("zfs-last-labels-only", &[SIZE - 524_288, SIZE - 262_144]).says("(zfs_member"),
        disk("vdo").write(0, b"dmvdo001\0\0\0\x05").says("(vdo, at byte 0)"),
        disk("stratis").write(512, stratis()).write(512 * 9, stratis()).says("(stratis"),
        disk("stratis-bad-checksum").write(516, b"!Stra0tis\x86\xff\x02^\x41rh").says("is not blank"),
        disk("ceph-bluestore").write(0, BLUESTORE).says("(ceph_bluestore, at byte 0)"),
        disk("oracle-asm").write(32, b"ORCLDISKDATA01").says("(oracleasm, at byte 32)"),
        disk("vmfs-member").write(MIB, b"\x0d\xd0\x01\xc0").says("(VMFS_volume_member, at byte 1048576)"),
    ]
}

const BLUESTORE: &[u8] = b"bluestore block device\n5c4d7d2a-6d4b-4c5a-9c3e-0a1b2c3d4e5f\n";

/// `OpenZFS`, `include/sys/vdev_impl.h` and `uberblock_impl.h`: a label of 256 KiB, whose second half is an array of
/// uberblocks of 1 KiB; the nvlist at 16 KiB begins with its encoding (XDR) and byte order.
fn zfs(name: &str, labels: &[u64]) -> Case {
    labels.iter().fold(disk(name), |case, label| {
        let case = case.write(label + 16384, b"\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\0\0\x24\0\0\0\x20\0\0\0\x07version\0");
        (0..8u64).fold(case, |case, slot| {
            let uberblock: Vec<u8> =
                [0x00ba_b10c, 5000, 100 + slot, 0, 1_700_000_000].into_iter().flat_map(u64::to_le_bytes).collect();
            case.write(label + 131_072 + slot * 1024, uberblock)
        })
    })
}

/// stratisd's BDA (`src/engine/strat_engine/metadata/static_header.rs`): a sector that begins with the CRC32C of
/// its rest, written to sectors 1 and 9.
fn stratis() -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[4..20].copy_from_slice(b"!Stra0tis\x86\xff\x02^\x41rh");
    sector[20..28].copy_from_slice(&(SIZE / 512).to_le_bytes());
    sector[28] = 1;
    sector[32..64].copy_from_slice(&[b'a'; 32]);
    sector[64..96].copy_from_slice(&[b'b'; 32]);
    let sum = crc32c::crc32c(&sector[4..]);
    sector[..4].copy_from_slice(&sum.to_le_bytes());
    sector
}
