/* run DESCRIPTOR COMMAND [WORD ...]
 * Runs a command and writes to DESCRIPTOR "STATUS NANOSECONDS USER SYSTEM MEMORY": from before posix_spawn(3) to after
 * wait4(2), the CPU in microseconds and the largest memory in KiB of it and of what it waited for. Small and static,
 * since a child begins with its parent's memory for a maximum: Python's would hide that of the smaller ones. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **words)
{
	if (count < 3)
		return 2;
	int answer = atoi(words[1]), status;
	struct timespec begin, end;
	struct rusage used;
	fcntl(answer, F_SETFD, FD_CLOEXEC);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	pid_t child;
	if (posix_spawnp(&child, words[2], 0, 0, words + 2, environ) || wait4(child, &status, 0, &used) < 0)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &end);
	dprintf(answer, "%d %lld %lld %lld %ld\n", status,
		(end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec,
		used.ru_utime.tv_sec * 1000000LL + used.ru_utime.tv_usec,
		used.ru_stime.tv_sec * 1000000LL + used.ru_stime.tv_usec, used.ru_maxrss);
	return 0;
}
