/* chain COMMAND [WORD ...] [\; COMMAND ...]
 * Stands for the program that starts commands one after the other (systemd, a kubelet), and costs next
 * to nothing itself. Ends at the first that fails; one that is given as `-COMMAND` may. */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words)
{
	char **command = words + 1, **last = words + count;
	while (command < last) {
		char **end = command;
		while (end < last && strcmp(*end, ";"))
			end++;
		*end = 0;
		int may_fail = **command == '-', status;
		if (may_fail)
			++*command;
		pid_t child;
		if (posix_spawnp(&child, *command, 0, 0, command, environ) || waitpid(child, &status, 0) < 0
			|| (status && !may_fail)) {
			fprintf(stderr, "%s failed\n", *command);
			return 1;
		}
		command = end + 1;
	}
	return 0;
}
