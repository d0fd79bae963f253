/* `ployzctl init`: sets up this machine as the first of a cluster. meshd writes its identity, the
 * servers' configuration and the request to create the streams, which it carries out once. */
#include <spawn.h>
#include <sys/wait.h>

#include "ployzctl/ployzctl.h"

struct init_options {
	char *config;
};
static const struct config_row rows[] = {
	{ "config", CONFIG_STRING, offsetof(struct init_options, config), "/etc/ployz/ployz.conf",
	  "FILE", "the configuration of the daemons", 0, 0 },
	CONFIG_END,
};

/* Runs a program to its end: its exit status, or a negative errno. Its output is not redirected. */
static int run_program(char *const *argv)
{
	pid_t pid;
	int status, r = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);

	if (r != 0)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BUG;
}

static void print_next(const struct ployzctl *ctl, const char *cluster)
{
	if (ctl->options.json) {
		session_json_value(json_pack("{s:s}", "cluster", cluster));
		return;
	}
	printf("cluster %s: this machine is prepared; meshd creates its streams when it starts\n"
	       "  start    systemctl enable --now ployz.target\n"
	       "  check    ployzctl status\n"
	       "  deploy   ployzctl deploy -f FILE\n",
	       cluster);
}

static int init(const struct ployzctl *ctl, const struct init_options *options, const char *cluster)
{
	_cleanup_free_ char *directory = programs_directory();
	_cleanup_free_ char *meshd = xasprintf("%s/meshd", directory);
	char *const argv[] = { meshd,
			       (char *)"--config",
			       options->config,
			       (char *)"--prepare",
			       (char *)"--init",
			       (char *)cluster,
			       NULL };
	int status = run_program(argv);

	if (status < 0)
		return session_refuse(FAILURE_NOT_FOUND, "install all of ployz",
				      "cannot run %s: %s", meshd, strerror(-status));
	if (status != 0)
		return session_refuse(FAILURE_NOT_READY, "the line above has the next step",
				      "cannot initialise cluster %s: meshd ended with code %d",
				      cluster, status);
	print_next(ctl, cluster);
	return EXIT_DONE;
}

int verb_init(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(strv_freep) char **words = NULL;
	struct init_options options;
	int code = arguments_take(ctl, "init", rows, NULL, &options, argc, argv, 1, 1, &words);

	if (!code && !name_valid(words[0]))
		code = session_refuse(FAILURE_INVALID,
				      "use 1 to 63 of a-z, 0-9 and '-', a letter first",
				      "cannot initialise cluster '%s': not a valid name", words[0]);
	if (!code)
		code = init(ctl, &options, words[0]);
	config_clear(rows, &options);
	return MAX2(code, 0);
}
