//! The kernel's ioctls, and what of signals needs it, each behind a safe function. The one file with
//! `unsafe` in it.
//!
//! Every request takes an open descriptor and a plain structure of the kernel's own layout; a descriptor of
//! another kind answers ENOTTY, a loop device EINVAL, and changes nothing.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::Result;
use nix::libc::c_int;
use nix::sys::signal::{SigHandler, SigSet, signal};

use crate::bytes::Bytes;

mod raw {
    //! Numbers and layouts: linux/fs.h, linux/loop.h, linux/btrfs.h, `linux/nvme_ioctl.h`, fs/ext4/ext4.h, `fs/xfs/libxfs/xfs_fs.h`.
    use nix::libc::{c_int, c_ulong};

    nix::ioctl_read!(blkgetsize64, 0x12, 114, usize);
    nix::ioctl_read_bad!(blksszget, 0x1268, c_int);
    nix::ioctl_read_bad!(blkroget, 0x125e, c_int);
    nix::ioctl_read_bad!(blkiomin, 0x1278, c_int);
    nix::ioctl_read_bad!(blkioopt, 0x1279, c_int);
    nix::ioctl_read_bad!(blkpbszget, 0x127b, c_int);
    nix::ioctl_read!(blkgetdiskseq, 0x12, 128, u64);

    nix::ioctl_write_ptr_bad!(blkzeroout, 0x127f, [u64; 2]);

    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4c82);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4c0a, LoopConfig);
    nix::ioctl_none_bad!(loop_set_capacity, 0x4c07);
    nix::ioctl_read_bad!(loop_get_status64, 0x4c05, LoopInfo64);

    nix::ioctl_readwrite!(nvme_admin_cmd, b'N', 0x41, NvmeCommand);

    nix::ioctl_write_ptr!(ext4_resize_fs, b'f', 16, u64);
    nix::ioctl_read!(xfs_fsgeometry_v1, b'X', 100, XfsGeometryV1);
    nix::ioctl_write_ptr!(xfs_fsgrowfsdata, b'X', 110, XfsGrowData);
    nix::ioctl_write_ptr!(btrfs_resize, 0x94, 3, BtrfsVolArgs);
    nix::ioctl_readwrite!(btrfs_dev_info, 0x94, 30, BtrfsDevInfo);
    nix::ioctl_read!(btrfs_fs_info, 0x94, 31, BtrfsFsInfo);
    nix::ioctl_read!(fs_getfslabel, 0x94, 49, [u8; 256]);

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct LoopInfo64 {
        pub device: u64,
        pub inode: u64,
        pub rdevice: u64,
        pub offset: u64,
        pub sizelimit: u64,
        pub number: u32,
        pub encrypt_type: u32,
        pub encrypt_key_size: u32,
        pub flags: u32,
        pub file_name: [u8; 64],
        pub crypt_name: [u8; 64],
        pub encrypt_key: [u8; 32],
        pub init: [u64; 2],
    }

    #[repr(C)]
    pub struct LoopConfig {
        pub fd: u32,
        pub block_size: u32,
        pub info: LoopInfo64,
        pub reserved: [u64; 8],
    }

    #[repr(C)]
    #[derive(Default)]
    pub struct XfsGeometryV1 {
        pub blocksize: u32,
        pub rtextsize: u32,
        pub agblocks: u32,
        pub agcount: u32,
        pub logblocks: u32,
        pub sectsize: u32,
        pub inodesize: u32,
        pub imaxpct: u32,
        pub datablocks: u64,
        pub rtblocks: u64,
        pub rtextents: u64,
        pub logstart: u64,
        pub uuid: [u8; 16],
        pub sunit: u32,
        pub swidth: u32,
        pub version: i32,
        pub flags: u32,
        pub logsectsize: u32,
        pub rtsectsize: u32,
        pub dirblocksize: u32,
    }

    #[repr(C)]
    pub struct XfsGrowData {
        pub newblocks: u64,
        pub imaxpct: u32,
    }

    #[repr(C)]
    pub struct BtrfsVolArgs {
        pub fd: i64,
        pub name: [u8; 4088],
    }

    #[repr(C)]
    pub struct BtrfsDevInfo {
        pub devid: u64,
        pub uuid: [u8; 16],
        pub bytes_used: u64,
        pub total_bytes: u64,
        pub unused: [u64; 379],
        pub path: [u8; 1024],
    }

    #[repr(C)]
    pub struct BtrfsFsInfo {
        pub max_id: u64,
        pub num_devices: u64,
        pub fsid: [u8; 16],
        pub nodesize: u32,
        pub sectorsize: u32,
        pub rest: [u8; 984],
    }

    /// `struct nvme_passthru_cmd`
    #[repr(C)]
    #[derive(Default)]
    pub struct NvmeCommand {
        pub opcode: u8,
        pub flags: u8,
        pub reserved: u16,
        pub namespace: u32,
        pub cdw2: u32,
        pub cdw3: u32,
        pub metadata: u64,
        pub address: u64,
        pub metadata_length: u32,
        pub data_length: u32,
        pub cdw10: u32,
        pub cdw11_to_15: [u32; 5],
        pub timeout_ms: u32,
        pub result: u32,
    }

    // The request number carries the size: a wrong layout would be another request. These are the kernel's.
    const _: () = assert!(size_of::<LoopInfo64>() == 232 && size_of::<LoopConfig>() == 304);
    const _: () = assert!(size_of::<XfsGeometryV1>() == 112 && size_of::<XfsGrowData>() == 16);
    const _: () = assert!(size_of::<BtrfsVolArgs>() == 4096 && size_of::<BtrfsDevInfo>() == 4096);
    const _: () = assert!(size_of::<BtrfsFsInfo>() == 1024 && size_of::<c_ulong>() == 8 && size_of::<c_int>() == 4);
    const _: () = assert!(size_of::<NvmeCommand>() == 72);
}

/// The size of a block device.
pub fn size(device: &File) -> Result<Bytes> {
    let mut bytes = 0usize;
    // SAFETY: the kernel writes one u64, which is what usize is on the targets that are built.
    unsafe { raw::blkgetsize64(device.as_raw_fd(), &raw mut bytes)? };
    Ok(Bytes(bytes as u64))
}

/// The logical sector size of a block device, in bytes.
pub fn sector_size(device: &File) -> Result<u32> {
    number(device, raw::blksszget)
}

/// Its physical sector size, in bytes.
pub fn physical_sector_size(device: &File) -> Result<u32> {
    number(device, raw::blkpbszget)
}

/// In what pieces it likes to be written, in bytes.
pub fn minimum_io(device: &File) -> Result<u32> {
    number(device, raw::blkiomin)
}

/// How much it writes best at once, in bytes; 0 where it does not say.
pub fn optimal_io(device: &File) -> Result<u32> {
    number(device, raw::blkioopt)
}

/// Whether a block device is set read-only.
pub fn is_read_only(device: &File) -> Result<bool> {
    Ok(number(device, raw::blkroget)? != 0)
}

/// What one of the requests answers that give an int.
fn number(device: &File, request: unsafe fn(c_int, *mut c_int) -> Result<c_int>) -> Result<u32> {
    let mut number: c_int = 0;
    // SAFETY: the kernel writes one int.
    unsafe { request(device.as_raw_fd(), &raw mut number)? };
    Ok(number.cast_unsigned())
}

/// The sequence number that tells this disk from one that takes its name later (Linux 5.15).
pub fn diskseq(device: &File) -> Result<u64> {
    let mut number = 0u64;
    // SAFETY: the kernel writes one u64.
    unsafe { raw::blkgetdiskseq(device.as_raw_fd(), &raw mut number)? };
    Ok(number)
}

/// Makes a range of a block device zero, by whatever way is the quickest that the device has.
pub fn zero_out(device: &File, start: u64, length: u64) -> Result<()> {
    let range = [start, length];
    // SAFETY: the kernel reads two u64.
    unsafe { raw::blkzeroout(device.as_raw_fd(), &raw const range)? };
    Ok(())
}

/// The number of a free loop device, made where there was none.
pub fn free_loop(control: &File) -> Result<u32> {
    // SAFETY: no argument.
    unsafe { raw::loop_ctl_get_free(control.as_raw_fd()) }.map(c_int::cast_unsigned)
}

/// Puts `backing` behind the loop device in one step (Linux 5.8), until nobody has it open any more. `EBUSY`: another was quicker.
pub fn attach_loop(device: &File, backing: &File, name: &Path) -> Result<()> {
    // LO_FLAGS_DIRECT_IO: no second page cache, and no read-ahead of megabytes for each sample of the proof of
    // zeros. Where the file's filesystem can't, the kernel goes on without it.
    const DIRECT_IO: u32 = 16;
    // LO_FLAGS_AUTOCLEAR: the last one who closes it, or unmounts it, detaches it.
    const AUTOCLEAR: u32 = 4;
    let mut config =
        raw::LoopConfig { fd: backing.as_raw_fd().cast_unsigned(), block_size: 0, info: NO_LOOP, reserved: [0; 8] };
    config.info.flags = DIRECT_IO | AUTOCLEAR;
    fill(&mut config.info.file_name, name.as_os_str().as_encoded_bytes());
    // SAFETY: the structure outlives the call; the kernel takes its own reference to the backing file.
    unsafe { raw::loop_configure(device.as_raw_fd(), &raw const config)? };
    Ok(())
}

/// Tells the loop device that its file has another size now.
pub fn refresh_loop_size(device: &File) -> Result<()> {
    // SAFETY: no argument.
    unsafe { raw::loop_set_capacity(device.as_raw_fd())? };
    Ok(())
}

/// The device and inode number of the file behind a loop device. `ENXIO`: there is none.
pub fn loop_backing(device: &File) -> Result<(u64, u64)> {
    let mut info = NO_LOOP;
    // SAFETY: the kernel fills the structure.
    unsafe { raw::loop_get_status64(device.as_raw_fd(), &raw mut info)? };
    Ok((info.device, info.inode))
}

/// What the NVMe controller behind a disk says of itself: Identify Controller, which changes nothing. Before Linux 6.2
/// it takes `CAP_SYS_ADMIN`.
pub fn identify_controller(disk: &File) -> Result<Box<[u8; 4096]>> {
    /// The opcode, and the one thing of several that Identify tells (NVM Express Base Specification, "Identify").
    const IDENTIFY: u8 = 0x06;
    const CONTROLLER: u32 = 1;
    let mut answer = Box::new([0; 4096]);
    let mut command = raw::NvmeCommand {
        opcode: IDENTIFY,
        address: answer.as_mut_ptr() as u64,
        data_length: 4096,
        cdw10: CONTROLLER,
        ..raw::NvmeCommand::default()
    };
    // SAFETY: the kernel reads and fills the structure, and writes at most data_length bytes to the buffer at address,
    // which has as many, is nobody else's, and outlives the call. The command sends nothing to the disk.
    match unsafe { raw::nvme_admin_cmd(disk.as_raw_fd(), &raw mut command)? } {
        0 => Ok(answer),
        // The controller's own status: it knows no such command.
        _ => Err(nix::Error::EIO),
    }
}

/// Grows a mounted ext4 to `blocks` of its own blocks. `EPERM`: `CAP_SYS_RESOURCE` is missing.
pub fn grow_ext4(mounted: &File, blocks: u64) -> Result<()> {
    // SAFETY: the kernel reads one u64.
    unsafe { raw::ext4_resize_fs(mounted.as_raw_fd(), &raw const blocks)? };
    Ok(())
}

/// What the kernel says of a filesystem that is mounted.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Its block size in bytes; of Btrfs, the sector size.
    pub block: u32,
    /// What it takes of the device.
    pub size: Bytes,
}

/// Of a mounted XFS. Its superblock on the disk lags behind.
pub fn xfs_geometry(mounted: &File) -> Result<Geometry> {
    let mut found = raw::XfsGeometryV1::default();
    // SAFETY: the kernel fills the structure.
    unsafe { raw::xfs_fsgeometry_v1(mounted.as_raw_fd(), &raw mut found)? };
    let size = Bytes(u64::from(found.blocksize) * found.datablocks);
    Ok(Geometry { uuid: found.uuid, block: found.blocksize, size })
}

/// The label of a mounted XFS (since Linux 4.18) or Btrfs.
pub fn label(mounted: &File) -> Result<String> {
    let mut label = [0; 256];
    // SAFETY: the kernel fills the array.
    unsafe { raw::fs_getfslabel(mounted.as_raw_fd(), &raw mut label)? };
    let text = label.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Grows a mounted XFS to `blocks` of its own blocks.
pub fn grow_xfs(mounted: &File, blocks: u64) -> Result<()> {
    let mut geometry = raw::XfsGeometryV1::default();
    // SAFETY: the kernel fills the one structure and reads the other.
    unsafe {
        // The share of inodes is part of the request: it stays what it is.
        raw::xfs_fsgeometry_v1(mounted.as_raw_fd(), &raw mut geometry)?;
        let request = raw::XfsGrowData { newblocks: blocks, imaxpct: geometry.imaxpct };
        raw::xfs_fsgrowfsdata(mounted.as_raw_fd(), &raw const request)?;
    }
    Ok(())
}

/// Of a mounted Btrfs, on one of its devices, and that device's id within it.
pub fn btrfs_device(mounted: &File, is_the_one: impl Fn(&Path) -> bool) -> Result<(u64, Geometry)> {
    use std::os::unix::ffi::OsStrExt;

    let mut filesystem =
        raw::BtrfsFsInfo { max_id: 0, num_devices: 0, fsid: [0; 16], nodesize: 0, sectorsize: 0, rest: [0; 984] };
    // SAFETY: the kernel fills the structure.
    unsafe { raw::btrfs_fs_info(mounted.as_raw_fd(), &raw mut filesystem)? };
    for devid in 1..=filesystem.max_id {
        let mut info = raw::BtrfsDevInfo {
            devid,
            uuid: [0; 16],
            bytes_used: 0,
            total_bytes: 0,
            unused: [0; 379],
            path: [0; 1024],
        };
        // SAFETY: the kernel reads devid and fills the rest.
        match unsafe { raw::btrfs_dev_info(mounted.as_raw_fd(), &raw mut info) } {
            // Ids of removed devices leave gaps.
            Err(nix::Error::ENODEV) => continue,
            other => other?,
        };
        let path = info.path.split(|byte| *byte == 0).next().unwrap_or_default();
        if is_the_one(Path::new(std::ffi::OsStr::from_bytes(path))) {
            let size = Bytes(info.total_bytes);
            return Ok((devid, Geometry { uuid: filesystem.fsid, block: filesystem.sectorsize, size }));
        }
    }
    Err(nix::Error::ENODEV)
}

/// Grows a mounted Btrfs to all of its device `devid`.
pub fn grow_btrfs(mounted: &File, devid: u64) -> Result<()> {
    let mut request = raw::BtrfsVolArgs { fd: 0, name: [0; 4088] };
    fill(&mut request.name, format!("{devid}:max").as_bytes());
    // SAFETY: the kernel reads the structure; the name ends with a zero byte.
    unsafe { raw::btrfs_resize(mounted.as_raw_fd(), &raw const request)? };
    Ok(())
}

/// Starts `command` such that it ignores these signals, and so does all that it starts.
pub fn deaf<'a>(command: &'a mut Command, signals: &SigSet) -> &'a mut Command {
    let signals = *signals;
    let ignore = move || {
        for one in &signals {
            // SAFETY: to ignore a signal runs no code of ours when it comes.
            let _ = unsafe { signal(one, SigHandler::SigIgn) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls and nothing else.
    unsafe { command.pre_exec(ignore) }
}

const NO_LOOP: raw::LoopInfo64 = raw::LoopInfo64 {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    sizelimit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

/// Copies as much as leaves a zero byte at the end.
fn fill(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len() - 1);
    field[..length].copy_from_slice(&text[..length]);
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A loop device over a nameless file, free again when it is dropped.
    pub struct Loop {
        /// Open for reading.
        pub file: File,
        _backing: tempfile::NamedTempFile,
        node: String,
    }

    impl Loop {
        pub fn new() -> Loop {
            let backing = tempfile::NamedTempFile::new().unwrap();
            backing.as_file().set_len(1 << 20).unwrap();
            let made = Command::new("losetup").args(["--find", "--show"]).arg(backing.path()).output().unwrap();
            assert!(made.status.success(), "this test needs root, and a loop device: {made:?}");
            let node = String::from_utf8(made.stdout).unwrap().trim().to_owned();
            Loop { file: File::open(&node).unwrap(), _backing: backing, node }
        }
    }

    impl Drop for Loop {
        fn drop(&mut self) {
            let _ = Command::new("losetup").args(["--detach", &self.node]).status();
        }
    }

    #[test]
    fn a_disk_that_is_not_nvme_knows_no_identify() {
        let disk = Loop::new();
        // loop.c answers EINVAL to what it does not know, where others say ENOTTY.
        assert!(matches!(identify_controller(&disk.file), Err(nix::Error::EINVAL | nix::Error::ENOTTY)));
        assert_eq!(identify_controller(&File::open("/dev/null").unwrap()), Err(nix::Error::ENOTTY));
    }
}
