//! The plan as a table: what is on the device and what the config says -> what is done. And one property:
//! nothing but a proved blank device is ever formatted.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::bytes::Bytes;
use crate::config::{Filesystem, Mount, MountPoint, Source};
use crate::locate::Cloud;
use crate::probe::{DeviceFacts, Found, Mounted, Sign, Target};
use crate::publish::CloudWords;

const GIB: u64 = 1 << 30;

fn volume(kind: FsType) -> Volume {
    Volume {
        name: "pg".into(),
        source: Source::Device { path: "/dev/xvdb".into(), timeout: std::time::Duration::ZERO },
        filesystem: Filesystem { kind, label: None, mkfs_options: vec![], format: Format::IfBlank },
        mount: Mount::at(MountPoint::parse("/data/pg").expect("it is one")),
        metadata: std::collections::BTreeMap::new(),
    }
}

fn facts(content: Content) -> Facts {
    Facts {
        device: DeviceFacts {
            path: "/dev/xvdb".into(),
            stable: "/dev/xvdb".into(),
            image: None,
            pending: vec![],
            cloud: None,
            words: CloudWords::default(),
            size: Bytes(GIB),
            sector: 512,
            physical_sector: 512,
            minimum_io: 512,
            optimal_io: 0,
            volume_id: None,
            serial: None,
            model: None,
            diskseq: None,
            read_only: false,
            holders: vec![],
            partitions: vec![],
            swap: false,
            mounts: vec![],
        },
        content,
        target: Target { path: "/data/pg".into(), state: TargetState::Absent, owner: Ownership::default() },
        recognised: false,
        may_grow_mounted_ext4: true,
    }
}

fn blank() -> Content {
    Content::Blank(Proof { bytes_read: Bytes(GIB), reads: 1 })
}

fn filesystem(kind: FsType, size: u64) -> Content {
    Content::Filesystem(Superblock {
        kind,
        uuid: "0b1c".into(),
        label: String::new(),
        size: Bytes(size),
        block_size: 4096,
        group_overhead: Bytes(0),
        state: State::Clean,
    })
}

/// An ext4 that leaves a last group out that is not larger than this.
fn with_large_inodes(size: u64, group_overhead: Bytes) -> Content {
    match filesystem(FsType::Ext4, size) {
        Content::Filesystem(found) => Content::Filesystem(Superblock { group_overhead, ..found }),
        other => other,
    }
}

fn unclean(size: u64) -> Content {
    match filesystem(FsType::Ext4, size) {
        Content::Filesystem(found) => Content::Filesystem(Superblock {
            state: State::NeedsCheck { reason: "it was mounted 30 times".into() },
            ..found
        }),
        other => other,
    }
}

fn mount_of(number: u64, at: &str) -> Mounted {
    Mounted { number, root: "/".into(), at: at.into(), fstype: "ext4".into(), source: "/dev/xvdb".into() }
}

/// Everything that a device can carry but for zeros.
fn not_blank() -> Vec<Content> {
    let sign = Sign { kind: "gpt".into(), what: "a partition table", offset: Some(512), uuid: None };
    vec![
        Content::Foreign(sign.clone()),
        Content::Damaged { kind: FsType::Ext4, evidence: "a wrong checksum".into(), repair: "e2fsck -f DEVICE".into() },
        Content::Ambiguous(vec![]),
        Content::Ambiguous(vec![sign.clone(), sign]),
        Content::Data { offset: 7, found: Found::Bytes },
        Content::Data {
            offset: 7,
            found: Found::Backup { kind: FsType::Xfs, offset: 9, repair: "xfs_repair DEVICE".into() },
        },
        Content::Unreadable("byte 0 could not be read".into()),
        filesystem(FsType::Ext4, GIB),
        filesystem(FsType::Xfs, GIB),
        filesystem(FsType::Btrfs, GIB),
        unclean(GIB),
    ]
}

/// The steps in words, or what the refusal says was found.
fn planned(volume: &Volume, facts: &Facts) -> Result<Vec<String>, String> {
    match plan(volume, facts, None, None) {
        Ok(plan) => Ok(plan.steps.iter().map(|step| step.action.to_string()).collect()),
        Err(refusal) => Err(format!("{} {}", refusal.subject, refusal.found)),
    }
}

#[test]
fn what_is_on_the_device_decides() {
    let steps = |steps: &[&str]| Ok(steps.iter().map(ToString::to_string).collect::<Vec<_>>());
    let mount = "mount at /data/pg";
    for (kind, content, online, expected) in [
        (FsType::Ext4, blank(), true, steps(&["format as ext4", mount])),
        (FsType::Xfs, blank(), true, steps(&["format as xfs", mount])),
        (FsType::Ext4, filesystem(FsType::Ext4, GIB), true, steps(&[mount])),
        // What a whole filesystem may leave unused is no reason to grow it.
        (FsType::Ext4, filesystem(FsType::Ext4, GIB - (16 << 20)), true, steps(&[mount])),
        (FsType::Ext4, with_large_inodes(GIB - (40 << 20), Bytes::mib(40)), true, steps(&[mount])),
        (FsType::Ext4, with_large_inodes(GIB - (41 << 20), Bytes::mib(40)), true, steps(&[mount, "grow the ext4"])),
        (FsType::Ext4, filesystem(FsType::Ext4, GIB / 2), true, steps(&[mount, "grow the ext4"])),
        (
            FsType::Ext4,
            filesystem(FsType::Ext4, GIB / 2),
            false,
            steps(&["check with e2fsck -f -p", "grow with resize2fs, before the mount", mount]),
        ),
        (FsType::Xfs, filesystem(FsType::Xfs, GIB / 2), false, steps(&[mount, "grow the xfs"])),
        (FsType::Btrfs, filesystem(FsType::Btrfs, GIB / 2), false, steps(&[mount, "grow the btrfs"])),
        (FsType::Ext4, unclean(GIB), true, steps(&["check with e2fsck -p", mount])),
        (FsType::Ext4, unclean(GIB / 2), true, steps(&["check with e2fsck -p", mount, "grow the ext4"])),
        (
            FsType::Ext4,
            filesystem(FsType::Ext4, 2 * GIB),
            true,
            Err("/dev/xvdb is smaller (1 GiB) than the ext4 on it (2 GiB): its end is missing".into()),
        ),
        (
            FsType::Xfs,
            filesystem(FsType::Ext4, GIB),
            true,
            Err("/dev/xvdb carries ext4 (UUID 0b1c), but the config says xfs".into()),
        ),
    ] {
        let facts = Facts { may_grow_mounted_ext4: online, ..facts(content.clone()) };
        assert_eq!(planned(&volume(kind), &facts), expected, "{kind} on {content:?}");
    }
}

#[test]
fn only_ec2_s_word_makes_samples_of_a_journal_s_zeros_enough() {
    let cloud = |taken_from: Option<&str>| {
        Some(Cloud { size: Bytes(GIB), snapshot: None, taken_from: taken_from.map(str::to_owned) })
    };
    let made = "; EC2 made it without a snapshot";
    for (kind, cloud, reason) in [
        (
            FsType::Ext4,
            None,
            "; its journal's zeros are all read first, and the kernel zeroes its inode tables".to_owned(),
        ),
        (FsType::Xfs, None, "; its log's zeros are all read first".to_owned()),
        (FsType::Btrfs, None, String::new()),
        (FsType::Ext4, cloud(None), format!("{made}, so samples of its journal's zeros will do")),
        (FsType::Xfs, cloud(None), format!("{made}, so samples of its log's zeros will do")),
        (FsType::Btrfs, cloud(None), made.to_owned()),
        (
            FsType::Ext4,
            cloud(Some("i-1")),
            format!("{made}; its journal's zeros are all read first, and the kernel zeroes its inode tables"),
        ),
    ] {
        let mut facts = facts(blank());
        facts.device.cloud = cloud;
        let plan = plan(&volume(kind), &facts, None, None).expect("it is blank");
        let all = format!("no signature, and only zeros in the 1 GiB that were read at 1 places{reason}");
        assert_eq!(plan.steps[0].reason, all, "{kind}");
    }
}

#[test]
fn a_device_that_is_in_use_is_refused_whatever_it_carries() {
    type Change = fn(&mut DeviceFacts);
    let changes: [(Change, &str); 7] = [
        (|device| device.mounts = vec![mount_of(1, "/")], "is the disk that the system runs from"),
        (|device| device.mounts = vec![mount_of(1, "/mnt")], "is already mounted, at /mnt"),
        (|device| device.swap = true, "is in use as swap space"),
        (|device| device.holders = vec!["dm-0".into()], "is in use by dm-0"),
        (|device| device.partitions = vec!["xvdb1".into()], "has partitions (xvdb1)"),
        (|device| device.size = Bytes(0), "has a size of zero"),
        (|device| device.read_only = true, "read-only"),
    ];
    for content in [blank(), filesystem(FsType::Ext4, GIB)] {
        for (change, found) in changes {
            let mut facts = facts(content.clone());
            change(&mut facts.device);
            let refused = planned(&volume(FsType::Ext4), &facts).expect_err(found);
            assert!(refused.contains(found), "{refused}");
        }
    }
}

#[test]
fn a_read_only_device_is_mounted_where_the_config_asks_for_that() {
    let mut volume = volume(FsType::Ext4);
    volume.mount.options = vec!["ro".into()];
    let mut facts = facts(unclean(GIB / 2));
    facts.device.read_only = true;
    assert_eq!(planned(&volume, &facts), Ok(vec!["mount at /data/pg".into()]));
}

#[test]
fn format_never_refuses_a_blank_device() {
    let mut volume = volume(FsType::Ext4);
    volume.filesystem.format = Format::Never;
    let refused = planned(&volume, &facts(blank())).expect_err("it is not to be formatted");
    assert!(refused.contains("is blank, and the config says `format: never`"), "{refused}");
}

#[test]
fn what_stands_at_the_mount_point_decides() {
    let ours = mount_of(7, "/data/pg");
    let mounted = |what: &Mounted| TargetState::Mounted { what: what.clone(), owner: (0, 0), mode: 0o755 };
    let plan_at = |state: TargetState, change: &dyn Fn(&mut Volume)| {
        let mut volume = volume(FsType::Ext4);
        change(&mut volume);
        let mut facts = facts(filesystem(FsType::Ext4, GIB));
        if matches!(state, TargetState::Mounted { .. }) {
            facts.device.mounts = vec![ours.clone()];
        }
        facts.target.state = state;
        facts.target.owner = Ownership { user: Some(0), group: None };
        planned(&volume, &facts)
    };
    let as_is = |_: &mut Volume| ();
    assert_eq!(plan_at(mounted(&ours), &as_is), Ok(vec![]), "a second run does nothing");
    assert_eq!(
        plan_at(mounted(&ours), &|volume| volume.mount.mode = Some(0o700)),
        Ok(vec!["set owner 0 mode 0700 on /data/pg".into()])
    );
    for (state, found) in [
        (mounted(&mount_of(8, "/data/pg")), "already has something else mounted on it"),
        (mounted(&Mounted { fstype: "xfs".into(), ..ours.clone() }), "already has something else mounted on it"),
        (TargetState::Occupied("PG_VERSION".into()), "is not empty (it has `PG_VERSION` in it"),
        (TargetState::Unusable("is not a folder".into()), "is not a folder"),
    ] {
        let refused = plan_at(state, &as_is).expect_err(found);
        assert!(refused.contains(found), "{refused}");
    }
    let allowed = plan_at(TargetState::Occupied("x".into()), &|volume| volume.mount.nonempty = true);
    assert_eq!(allowed.map(|steps| steps.len()), Ok(2));
}

#[test]
fn a_mounted_ext4_that_may_not_grow_is_left_with_a_warning() {
    let ours = mount_of(7, "/data/pg");
    let mut facts = facts(filesystem(FsType::Ext4, GIB / 2));
    facts.device.mounts = vec![ours.clone()];
    facts.target.state = TargetState::Mounted { what: ours, owner: (0, 0), mode: 0o755 };
    facts.may_grow_mounted_ext4 = false;
    let plan = plan(&volume(FsType::Ext4), &facts, None, None).expect("it is up");
    assert!(plan.steps.is_empty() && plan.warnings[0].contains("CAP_SYS_RESOURCE"), "{plan:?}");
}

#[test]
fn an_image_becomes_larger_before_its_filesystem() {
    let mut volume = volume(FsType::Xfs);
    volume.source = Source::Image { path: "/pg.img".into(), size: Bytes(2 * GIB) };
    let mut facts = facts(filesystem(FsType::Xfs, GIB));
    facts.device.image = Some(PathBuf::from("/pg.img"));
    let steps = planned(&volume, &facts).expect("nothing is in the way");
    assert_eq!(steps, ["enlarge /pg.img to 2 GiB", "mount at /data/pg", "grow the xfs"]);
    facts.content = not_blank().remove(0);
    assert!(planned(&volume, &facts).is_err(), "what is not ours is not made larger");
}

#[test]
fn another_filesystem_than_the_one_that_is_remembered_is_refused() {
    let was = |uuid: &str| Remembered {
        uuid: uuid.into(),
        r#type: "ext4".into(),
        volume_id: Some("vol-5afc0745".into()),
        erased: None,
    };
    let judged = |content, uuid| {
        plan(&volume(FsType::Ext4), &facts(content), Some(&was(uuid)), None).map(|plan| plan.steps.len())
    };
    assert_eq!(judged(filesystem(FsType::Ext4, GIB), "0b1c"), Ok(1));
    let other = judged(filesystem(FsType::Ext4, GIB), "2d3e").expect_err("it is another one");
    let found =
        "carries ext4 (UUID 0b1c), but the volume `pg` was ext4 (UUID 2d3e) on vol-5afc0745 when it last stood here";
    assert_eq!(other.found, found);
    assert!(other.way_out.contains("rm /var/lib/volinit/volumes/pg.json"), "{}", other.way_out);
    let blank = judged(blank(), "2d3e").expect_err("it had data");
    assert!(blank.found.starts_with("is blank, but the volume `pg` was ext4"), "{}", blank.found);
}

fn any_state() -> impl Strategy<Value = TargetState> {
    let ours = TargetState::Mounted { what: mount_of(7, "/data/pg"), owner: (0, 0), mode: 0o755 };
    prop::sample::select(vec![TargetState::Absent, TargetState::Empty, TargetState::Occupied("x".into()), ours])
}

proptest! {
    /// Whatever else is the case, only a blank device that nothing uses is formatted.
    #[test]
    fn nothing_but_blank_is_formatted(
        kind in prop::sample::select(FsType::ALL.to_vec()),
        content in prop::sample::select([not_blank(), vec![blank()]].concat()),
        never in any::<bool>(),
        state in any_state(),
        (read_only, swap, held, parts, mounted, online) in any::<(bool, bool, bool, bool, bool, bool)>(),
        (nonempty, image, remembered) in any::<(bool, bool, bool)>(),
        size in prop::sample::select(vec![0, GIB / 2, GIB, 4 * GIB]),
    ) {
        let mut volume = volume(kind);
        volume.filesystem.format = if never { Format::Never } else { Format::IfBlank };
        volume.mount.nonempty = nonempty;
        if image {
            volume.source = Source::Image { path: "/pg.img".into(), size: Bytes(8 * GIB) };
        }
        let is_blank = matches!(content, Content::Blank(_));
        let mut facts = facts(content);
        facts.may_grow_mounted_ext4 = online;
        facts.target.state = state;
        let device = &mut facts.device;
        (device.read_only, device.swap, device.size) = (read_only, swap, Bytes(size));
        device.image = image.then(|| Path::new("/pg.img").to_owned());
        device.holders = if held { vec!["md0".into()] } else { vec![] };
        device.partitions = if parts { vec!["xvdb1".into()] } else { vec![] };
        device.mounts = if mounted { vec![mount_of(7, "/data/pg")] } else { vec![] };
        let was = Remembered { uuid: "0b1c".into(), r#type: "ext4".into(), volume_id: None, erased: None };
        let in_use = read_only || swap || held || parts || mounted || size == 0;
        if let Ok(plan) = plan(&volume, &facts, remembered.then_some(&was), None) {
            prop_assert!(!plan.formats() || (is_blank && !never && !in_use && !remembered), "{plan:?}");
        }
    }
}

#[test]
fn an_instance_store_is_named_as_such() {
    let mut disk = facts(blank()).device;
    assert_eq!(verdict(&disk, &blank()), (true, "blank, would be formatted".into()));
    disk.model = Some("Amazon Elastic Block Store".into());
    assert_eq!(verdict(&disk, &blank()), (true, "blank, would be formatted".into()));
    disk.model = Some("Amazon EC2 NVMe Instance Storage".into());
    let why = "blank, would be formatted; instance store: lost at stop";
    assert_eq!(verdict(&disk, &blank()), (true, why.into()));
    disk.swap = true;
    assert_eq!(verdict(&disk, &blank()), (false, "is in use as swap space; instance store: lost at stop".into()));
}
