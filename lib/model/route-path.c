/* Route path: checks and corrects paths. The gateway compares paths byte by byte and resolves
 * nothing in them. */
#include "lib/model/route-path.h"

#include "lib/str.h"

bool route_path_valid(const char *path, const char *allowed)
{
	if (path[0] != '/')
		return false;
	for (const char *p = path; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f ||
		    (strchr("\"'\\#?<>{};|", *p) && !strchr(allowed, *p)))
			return false;
	return true;
}

/* The path without empty segments, with `.` and `..` resolved and without what follows a `*`. */
static char *simple_path(const char *path)
{
	_cleanup_(strv_freep) char **segments = strv_split(path, "/");
	struct strbuf simple = STRBUF_INIT;

	for (char **segment = segments; segment && *segment; segment++) {
		char *last = simple.text ? strrchr(simple.text, '/') : NULL;

		if (strchr(*segment, '*'))
			break;
		if (streq(*segment, "."))
			continue;
		if (!streq(*segment, "..")) {
			strbuf_printf(&simple, "/%s", *segment);
		} else if (last) {
			*last = '\0';
			simple.size = (size_t)(last - simple.text);
		}
	}
	if (!simple.size)
		strbuf_puts(&simple, "/");
	return strbuf_steal(&simple);
}

static bool has_segment(const char *path, const char *segment)
{
	size_t length = strlen(segment);

	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/'))
		if (strncmp(p + 1, segment, length) == 0 &&
		    (p[1 + length] == '/' || p[1 + length] == '\0'))
			return true;
	return false;
}

char *route_path_error(const char *path)
{
	_cleanup_free_ char *simple = NULL;

	if (!route_path_valid(path, ""))
		return xasprintf("'%s' is not a path: it begins with / and has no blanks, quotes, "
				 "?, #, ; or |",
				 path);
	simple = simple_path(path);
	if (strchr(path, '*'))
		return xasprintf("'%s' has a *: a path matches everything below it; write %s", path,
				 simple);
	if (strstr(path, "//"))
		return xasprintf("'%s' has an empty segment; write %s", path, simple);
	if (has_segment(path, ".") || has_segment(path, ".."))
		return xasprintf("'%s' has a segment that consists of dots; write %s", path,
				 simple);
	return NULL;
}

int route_path_segments(const char *path)
{
	int count = 0;

	for (; *path; path++)
		count += *path == '/' && path[1] && path[1] != '/';
	return count;
}
