/* Files: small ones, whole; directories. */
#ifndef PLOYZ_FILE_H
#define PLOYZ_FILE_H

#include "lib/mem.h"

/* At most `max` bytes of a file, zero-terminated beyond *ret_size, owned by the caller. 0, -EFBIG,
 * or the errno of open or read. `ret_size` may be NULL. */
int file_read(const char *path, size_t max, char **ret_text, size_t *ret_size);
/* Writes another file, syncs and renames it: readers see the whole old or the whole new file, also
 * after a power failure. 0 or negative errno. */
int file_write_atomic(const char *path, const void *data, size_t size, unsigned mode);
/* Creates the directory and its missing parents, each with `mode`. 0 or negative errno. */
int directory_make(const char *path, unsigned mode);

#endif
