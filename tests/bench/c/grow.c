/* grow TYPE DEVICE FOLDER
 * The limit of growing: the ioctl alone, for blocks of 4 KiB, on what is mounted. */
#include "limit.h"
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* Not in the kernel's exported headers: fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
struct xfs_growfs_data {
	uint64_t newblocks;
	uint32_t imaxpct;
};
#define XFS_IOC_FSGROWFSDATA _IOW('X', 110, struct xfs_growfs_data)

int main(int count, char **words)
{
	if (count != 4)
		return 2;
	uint64_t bytes;
	int disk = open(words[2], O_RDONLY | O_CLOEXEC), folder = open(words[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (disk < 0 || folder < 0 || ioctl(disk, BLKGETSIZE64, &bytes))
		return failed("opening", words[2]);
	uint64_t blocks = bytes / 4096;
	struct xfs_growfs_data xfs = { blocks, 25 };
	struct btrfs_ioctl_vol_args btrfs = { .name = "1:max" };
	int bad = *words[1] == 'e' ? ioctl(folder, EXT4_IOC_RESIZE_FS, &blocks)
		: *words[1] == 'x' ? ioctl(folder, XFS_IOC_FSGROWFSDATA, &xfs)
		: ioctl(folder, BTRFS_IOC_RESIZE, &btrfs);
	return bad ? failed("growing", words[3]) : 0;
}
