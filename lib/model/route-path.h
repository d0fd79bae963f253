/* Path of a route: which are refused, and what to write instead (pure). */
#ifndef PLOYZ_MODEL_ROUTE_PATH_H
#define PLOYZ_MODEL_ROUTE_PATH_H

#include <stdbool.h>

/* NULL when the path is one that the gateway can match literally; otherwise the reason and what to
 * write; owned by the caller. */
char *route_path_error(const char *path);
/* Whether it begins with / and holds nothing that could be misread in a request or in the gateway's
 * configuration; of `allowed` each character may stand in it. */
bool route_path_valid(const char *path, const char *allowed);
/* Segments that are not empty: 2 for /a/b. */
int route_path_segments(const char *path);

#endif
