/* mkfs TYPE DEVICE FOLDER [DEVICE FOLDER ...]
 * The least that others can do of "blank -> mounted": mkfs as it is by default, and mount(2). Nothing is looked at
 * before, and no unit file is written. */
#include "limit.h"

static char *type;

static int one(char **words)
{
	const char *device = words[0], *at = words[1];
	char program[32];
	int status;
	snprintf(program, sizeof program, "/sbin/mkfs.%s", type);
	pid_t child = vfork();
	if (!child) {
		execl(program, program, "-q", device, (char *)0);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || status)
		return failed("running", program);
	return mount_at(device, at, type);
}

int main(int count, char **words)
{
	if (count < 4)
		return 2;
	type = words[1];
	return each(words + 2, 2, one);
}
