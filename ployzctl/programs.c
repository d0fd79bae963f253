/* Where the daemons' programs are. */
#include <unistd.h>

#include "ployzctl/ployzctl.h"

#define INSTALLED "/usr/lib/ployz"

char *programs_directory(void)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	_cleanup_free_ char *beside = NULL;
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return xstrdup(INSTALLED);
	*slash = '\0';
	beside = xasprintf("%s/meshd", self);
	return access(beside, X_OK) == 0 ? xstrdup(self) : xasprintf("%s/../lib/ployz", self);
}
