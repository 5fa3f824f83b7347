/* What the limits share: the unit file that volinit writes too, mount(2), and one process a volume where there are
 * several. No library, no allocation, no check that is not needed to mount. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNITS "/etc/systemd/system"

static inline int failed(const char *what, const char *which)
{
	fprintf(stderr, "%s %s: %s\n", what, which, strerror(errno));
	return 1;
}

/* /etc/systemd/system/mnt-v0.mount for /mnt/v0, by a file beside it and rename(2). */
static inline int write_unit(const char *device, const char *at, const char *type)
{
	char text[1024], file[256], beside[260];
	int name = snprintf(file, sizeof file, UNITS "/%s.mount", at + 1);
	for (char *c = file + sizeof UNITS; c < file + name; c++)
		if (*c == '/')
			*c = '-';
	snprintf(beside, sizeof beside, "%s.new", file);
	int length = snprintf(text, sizeof text,
		"[Unit]\nDescription=Volume\n\n[Mount]\nWhat=%s\nWhere=%s\nType=%s\n\n[Install]\nWantedBy=local-fs.target\n",
		device, at, type);
	int unit = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (unit < 0 || write(unit, text, length) != length || close(unit) || rename(beside, file))
		return failed("writing", file);
	return 0;
}

static inline int mount_at(const char *device, const char *at, const char *type)
{
	if (mkdir(at, 0755) && errno != EEXIST)
		return failed("making", at);
	return mount(device, at, type, 0, 0) ? failed("mounting", device) : 0;
}

/* `one` for each `stride` words, all at once; for a single time without a process of its own. */
static inline int each(char **words, int stride, int (*one)(char **))
{
	int started = 0, bad = 0, status;
	if (!words[stride])
		return one(words);
	for (; words[0]; words += stride, started++) {
		pid_t child = fork();
		if (child < 0)
			return failed("starting a process for", words[0]);
		if (!child)
			_exit(one(words));
	}
	while (started--)
		bad |= wait(&status) < 0 || status;
	return bad;
}
