/* Route path (pure): which paths are refused, and what to write instead. */
#ifndef PLOYZ_MODEL_ROUTE_PATH_H
#define PLOYZ_MODEL_ROUTE_PATH_H

#include <stdbool.h>

/* NULL if the gateway can match the path literally; otherwise the reason and a correct path; owned
 * by the caller. */
char *route_path_error(const char *path);
/* Whether the path begins with / and has no character that is special in a request or in the
 * gateway's configuration, except those of `allowed`. */
bool route_path_valid(const char *path, const char *allowed);
/* Segments that are not empty: 2 for /a/b. */
int route_path_segments(const char *path);

#endif
