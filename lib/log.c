/* Log: the journal's native protocol, or stderr. */
#include "lib/log.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

static struct {
	const char *ident;
	char *machine;
	int level;
	bool journal; /* stderr is the journal's own stream */
} settings = { .ident = "ployz", .level = LOG_INFO };

/* systemd names the journal's stream by device and inode in $JOURNAL_STREAM; a redirected stderr no
 * longer matches (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
	const char *name = getenv("JOURNAL_STREAM");
	unsigned long device, inode;
	struct stat st;

	if (!name || sscanf(name, "%lu:%lu", &device, &inode) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_open(const char *ident)
{
	settings.ident = ident;
	settings.journal = stderr_is_journal();
}

void log_set_machine(const char *machine)
{
	free(settings.machine);
	settings.machine = xstrdup(machine);
}

void log_set_level(int level)
{
	settings.level = level;
}

static void field_add(struct iovec *iov, int *count, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	iov[*count].iov_base = xasprintf("%s=%s", name, value);
	iov[*count].iov_len = strlen(iov[*count].iov_base);
	(*count)++;
}

static void to_journal(int level, const struct log_about *about, const char *text)
{
	struct iovec iov[10];
	char number[32];
	int count = 0;

	field_add(iov, &count, "MESSAGE", text);
	snprintf(number, sizeof(number), "%d", level);
	field_add(iov, &count, "PRIORITY", number);
	field_add(iov, &count, "SYSLOG_IDENTIFIER", settings.ident);
	field_add(iov, &count, "PLOYZ_MACHINE", settings.machine);
	if (about) {
		field_add(iov, &count, "PLOYZ_NAMESPACE", about->ns);
		field_add(iov, &count, "PLOYZ_DEPLOY", about->deploy);
		field_add(iov, &count, "PLOYZ_INSTANCE", about->instance);
		field_add(iov, &count, "MESSAGE_ID", about->message_id);
		snprintf(number, sizeof(number), "%llu", (unsigned long long)about->epoch);
		if (about->epoch)
			field_add(iov, &count, "PLOYZ_EPOCH", number);
		snprintf(number, sizeof(number), "%d", abs(about->error));
		if (about->error)
			field_add(iov, &count, "ERRNO", number);
	}
	sd_journal_sendv(iov, count);
	while (count > 0)
		free(iov[--count].iov_base);
}

void log_write(int level, const struct log_about *about, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *line = NULL;
	int saved = errno;
	va_list args;

	if (level > settings.level)
		return;
	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	if (about && about->error)
		line = xasprintf("%s: %s", text, strerror(abs(about->error)));
	else
		line = steal(text);
	if (settings.journal)
		to_journal(level, about, line);
	else
		fprintf(stderr, "%s: %s%s\n", settings.ident,
			level <= LOG_ERR       ? "error: "
			: level == LOG_WARNING ? "warning: "
					       : "",
			line);
	errno = saved;
}

void log_failure(const struct failure *failure)
{
	log_error("%s%s%s", failure->message, failure->hint ? "; " : "",
		  failure->hint ? failure->hint : "");
}
