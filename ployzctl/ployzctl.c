/* Entry of ployzctl: global options, then the verb. */
#include "ployzctl/ployzctl.h"

static int run(struct ployzctl *ctl, int argc, char **argv)
{
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	int rest;

	log_open("ployzctl");
	log_set_level(LOG_WARNING);
	config_init(global_rows, &ctl->options);
	if (config_arguments(global_rows, &ctl->options, argc, argv, &rest, &failure) < 0)
		return session_report(&failure);
	if (ctl->options.version)
		return verb_version(ctl, 1, argv);
	if (rest >= argc) {
		verbs_help(ctl->options.help ? stdout : stderr);
		return ctl->options.help ? EXIT_DONE : EXIT_USAGE;
	}
	return verbs_run(ctl, argc - rest, argv + rest);
}

int main(int argc, char **argv)
{
	struct ployzctl ctl = { 0 };
	int code = run(&ctl, argc, argv);

	session_close(&ctl);
	config_clear(global_rows, &ctl.options);
	if (fflush(stdout) != 0 && code == EXIT_DONE)
		code = EXIT_FAILED;
	return code;
}
