/* Codec: a schema is a struct and one row per field; decoding, encoding, freeing and the man page's
 * table are generic over the rows. */
#ifndef PLOYZ_CODEC_H
#define PLOYZ_CODEC_H

#include <jansson.h>

#include "lib/failure.h"

enum codec_type {
	CODEC_STRING,	/* char * */
	CODEC_NAME,	/* char *, checked by name_valid() */
	CODEC_BOOL,	/* bool */
	CODEC_INT,	/* int64_t within [min, max] */
	CODEC_REAL,	/* double within [min, max] */
	CODEC_ENUM,	/* int: index into `names` */
	CODEC_DURATION, /* uint64_t microseconds; `10s` on the wire; within [min, max] */
	CODEC_SIZE,	/* uint64_t bytes; `64M` or a number on the wire; within [min, max] */
	CODEC_STRV,	/* char **: NULL-terminated */
	CODEC_PAIRS,	/* struct pairs: an object of strings, in the order of the document */
	CODEC_STRUCT,  /* an embedded struct of `schema`; an absent one gets its fields' defaults */
	CODEC_POINTER, /* a struct of `schema` of its own, NULL when absent or null */
	CODEC_LIST,    /* struct of `schema` * and, at count_offset, size_t: an array of objects */
	CODEC_MAP, /* the same from an object: the first member of each struct is `char *` and holds
		      the key, checked by name_valid() unless CODEC_ANY_KEY */
	CODEC_JSON,   /* json_t *, an own reference, any value */
	CODEC_CUSTOM, /* decoded and encoded by `custom` */
};

enum codec_flag {
	CODEC_REQUIRED = 1 << 0, /* absent, null, or empty (a string, a list) is refused */
	CODEC_OMIT = 1 << 1, /* not encoded when it has its default (numbers and booleans; strings,
				lists and pointers are always left out when NULL or empty) */
	CODEC_SECRET = 1 << 2,	/* never printed: the man page marks it and dumps omit it */
	CODEC_ANY_KEY = 1 << 3, /* keys of a CODEC_MAP are free text */
};

struct pair {
	char *key;
	char *value;
};
struct pairs {
	struct pair *items;
	size_t count;
};
/* The value of a key, or NULL; borrowed. */
const char *pairs_get(const struct pairs *pairs, const char *key);
void pairs_add(struct pairs *pairs, const char *key, const char *value);
void pairs_free(struct pairs *pairs);

/* A value that has more than one form on the wire. `at` is the field's address. */
struct codec_custom {
	const char *type; /* for the man page: `int or "global"` */
	int (*decode)(const json_t *json, void *at, struct failure *failure);
	json_t *(*encode)(const void *at); /* NULL: leave the key out */
	void (*free)(void *at);		   /* may be NULL */
	void (*set_default)(void *at);	   /* may be NULL: zero */
};

struct codec_schema;
struct codec_field {
	const char *key;
	enum codec_type type;
	unsigned flags;
	size_t offset;
	size_t count_offset; /* CODEC_LIST, CODEC_MAP */
	const struct codec_schema *schema;
	const struct codec_custom *custom;
	const char *const *names; /* CODEC_ENUM: NULL-terminated; NULL-less holes are not allowed */
	int64_t min, max;	  /* both 0: any value that the type holds, none negative */
	int64_t initial;	  /* value when absent */
	const char *text;	  /* CODEC_STRING, CODEC_NAME: value when absent */
	const char *note;	  /* for the man page */
};
struct codec_schema {
	const char *name;
	size_t size;
	const struct codec_field *fields; /* ends with an all-zero row */
	/* The first member is `char *` and holds a name that has no row: the key in a CODEC_MAP,
	 * the key `name` where the struct stands alone on the bus. Needed for every schema of a
	 * CODEC_MAP. */
	bool keyed;
	/* checks what rows cannot express, after all fields are decoded; may be NULL */
	int (*check)(const void *object, struct failure *failure);
};

/* Rows are written with these: FIELD(struct port, port, CODEC_INT, .min = 1, .max = 65535). The key
 * is the member's name unless `.key` follows. */
#define FIELD(type_, member, codec, ...)                                                      \
	{                                                                                     \
		.key = #member, .type = codec, .offset = offsetof(type_, member), __VA_ARGS__ \
	}
#define FIELD_KEY(type_, member, key_, codec, ...)                                         \
	{                                                                                  \
		.key = key_, .type = codec, .offset = offsetof(type_, member), __VA_ARGS__ \
	}
#define FIELD_LIST(type_, member, count_, codec, schema_, ...)                          \
	{                                                                               \
		.key = #member, .type = codec, .offset = offsetof(type_, member),       \
		.count_offset = offsetof(type_, count_), .schema = schema_, __VA_ARGS__ \
	}
#define FIELD_END           \
	{                   \
		.key = NULL \
	}

enum codec_mode {
	CODEC_LENIENT, /* unknown keys are ignored: on the bus */
	CODEC_STRICT,  /* unknown keys are refused, naming the nearest known one: in a manifest */
};

/* Decodes into `object` (schema->size bytes, uninitialised); `json` may be NULL, which is refused.
 * 0; otherwise a negative errno with `failure` set, its path naming the field, and `object` all
 * zero. */
int codec_decode(const struct codec_schema *schema, const json_t *json, enum codec_mode mode,
		 void *object, struct failure *failure);
/* The same into memory of its own: free with codec_destroy. */
int codec_decode_new(const struct codec_schema *schema, const json_t *json, enum codec_mode mode,
		     void **ret, struct failure *failure);
/* The same from bytes. Depth and counts are bounded by jansson and by `size`. */
int codec_parse(const struct codec_schema *schema, const void *data, size_t size,
		enum codec_mode mode, void **ret, struct failure *failure);
/* A new reference; never NULL. */
json_t *codec_encode(const struct codec_schema *schema, const void *object);
/* Compact text, keys in the order of the rows; owned by the caller. */
char *codec_print(const struct codec_schema *schema, const void *object);
/* Sets every field to its default: what decoding `{}` would give, required fields NULL or 0. */
void codec_init(const struct codec_schema *schema, void *object);
void *codec_new(const struct codec_schema *schema);
/* Frees what the fields own and zeroes the object. */
void codec_clear(const struct codec_schema *schema, void *object);
/* codec_clear and free(); takes NULL. */
void codec_destroy(const struct codec_schema *schema, void *object);
/* A deep copy, made by encoding and decoding; owned by the caller. */
void *codec_copy(const struct codec_schema *schema, const void *object);
/* `codec_copy` into an embedded struct. */
void codec_copy_into(const struct codec_schema *schema, void *to, const void *from);

/* JSON text, compact; owned by the caller. `json_sorted` sorts keys: equal values, equal text. */
char *json_text(const json_t *json);
char *json_sorted(const json_t *json);
/* Any bytes as a JSON string: invalid UTF-8 becomes U+FFFD; NULL becomes null. A new reference,
 * never NULL. */
json_t *json_utf8(const char *s);

#define _cleanup_json_ _cleanup_(json_decrefp)

/* Defines NAME_free(struct NAME *) and NAME_freep for a struct with a schema NAME_schema. */
#define DEFINE_MODEL(name)                                  \
	extern const struct codec_schema name##_schema;     \
	static inline void name##_free(struct name *object) \
	{                                                   \
		codec_destroy(&name##_schema, object);      \
	}                                                   \
	DEFINE_CLEANUP(struct name, name##_free)

#endif
