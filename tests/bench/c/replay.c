/* replay TYPE IMAGE DEVICE FOLDER [IMAGE DEVICE FOLDER ...]
 * The limit of "blank -> mounted": the bytes that mkfs would write and that are not zero, from a sparse file, then
 * fsync(2), the unit file, mount(2). It does not look at what the disk has, and mkfs itself is not run. */
#include "limit.h"

static const char *type;

static int one(char **words)
{
	static char block[1 << 20];
	const char *image = words[0], *device = words[1], *folder = words[2];
	int from = open(image, O_RDONLY | O_CLOEXEC), to = open(device, O_WRONLY | O_CLOEXEC);
	off_t at = 0, end;
	if (from < 0 || to < 0)
		return failed("opening", device);
	while ((at = lseek(from, at, SEEK_DATA)) >= 0)
		for (end = lseek(from, at, SEEK_HOLE); at < end;) {
			ssize_t length = end - at > (off_t)sizeof block ? (ssize_t)sizeof block : end - at;
			if (pread(from, block, length, at) != length || pwrite(to, block, length, at) != length)
				return failed("writing", device);
			at += length;
		}
	if (errno != ENXIO || fsync(to) || close(to))
		return failed("writing", device);
	return write_unit(device, folder, type) || mount_at(device, folder, type);
}

int main(int count, char **words)
{
	if (count < 5)
		return 2;
	type = words[1];
	return each(words + 2, 3, one);
}
