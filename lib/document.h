/* Document: JSON or YAML text as one JSON value, with the line and column of everything in it. */
#ifndef PLOYZ_DOCUMENT_H
#define PLOYZ_DOCUMENT_H

#include "lib/codec.h"

#define DOCUMENT_MAX_DEPTH 64

struct document;

/* Reads text that is JSON where `name` ends in .json or its first byte that is not blank is `{`,
 * YAML elsewhere. YAML means what JSON can say: one document, the core schema, no anchors, aliases,
 * tags or merge keys. Keys that come twice are refused in both. 0, or a negative errno with the
 * message of `failure` beginning `name:line:column: `. */
int document_parse(const char *name, const char *text, size_t size, struct document **ret,
		   struct failure *failure);
void document_free(struct document *document);
DEFINE_CLEANUP(struct document, document_free);

/* The value; borrowed, not to be changed. */
const json_t *document_root(const struct document *document);
/* Where the value at `path` (`services.web.command[1]`) stands: its key, or the value itself in a
 * list and at the root (NULL). Where the path ends before, the last part that there is. From 1. */
void document_where(const struct document *document, const char *path, int *ret_line,
		    int *ret_column);
/* Takes the first part of *path as seen from `json`: *ret_key is a member's name (owned by the
 * caller; it need not exist), or stays NULL and *ret_index is a place in a list. *path moves behind
 * it. False: the path has no such part. */
bool document_step(const json_t *json, const char **path, char **ret_key, size_t *ret_index);

#endif
