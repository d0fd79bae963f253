/* Document: JSON or YAML text as one JSON value, with the line and column of everything in it. */
#ifndef PLOYZ_DOCUMENT_H
#define PLOYZ_DOCUMENT_H

#include "lib/codec.h"

#define DOCUMENT_MAX_DEPTH 64

struct document;

/* Reads text: JSON where `name` ends in .json or its first byte that is not blank is `{`, otherwise
 * YAML. YAML is limited to what JSON can express: one document, the core schema, no anchors,
 * aliases, tags or merge keys. Repeated keys are refused in both. 0, or a negative errno with the
 * message of `failure` beginning `name:line:column: `. */
int document_parse(const char *name, const char *text, size_t size, struct document **ret,
		   struct failure *failure);
void document_free(struct document *document);
DEFINE_CLEANUP(struct document, document_free);

/* The value; borrowed, not to be changed. */
const json_t *document_root(const struct document *document);
/* Position, from 1, of the value at `path` (`services.web.command[1]`): of its key, or of the value
 * itself in a list and at the root (NULL). If the path does not exist, that of its last part that
 * does. */
void document_where(const struct document *document, const char *path, int *ret_line,
		    int *ret_column);
/* Takes the first part of *path as seen from `json`: *ret_key is a member's name (owned by the
 * caller; it need not exist), or stays NULL and *ret_index is an index of a list. *path moves
 * behind it. False: the path has no such part. */
bool document_step(const json_t *json, const char **path, char **ret_key, size_t *ret_index);

#endif
