#include "lib/model/store.h"

#define SCHEMA(name_)                                                                  \
	{                                                                              \
		.name = #name_, .size = sizeof(struct name_), .fields = name_##_fields \
	}

static const struct codec_field stream_usage_fields[] = {
	FIELD(struct stream_usage, stream, CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct stream_usage, bytes, CODEC_SIZE),
	FIELD(struct stream_usage, max_bytes, CODEC_SIZE),
	FIELD(struct stream_usage, messages, CODEC_INT),
	FIELD(struct stream_usage, last_sequence, CODEC_INT),
	FIELD(struct stream_usage, replicas, CODEC_INT),
	FIELD(struct stream_usage, alarm, CODEC_BOOL, .flags = CODEC_OMIT,
	      .note = "80 % of its limit or more"),
	FIELD_END,
};
static const struct codec_schema stream_usage_schema = SCHEMA(stream_usage);

static const struct codec_field namespace_usage_fields[] = {
	FIELD_KEY(struct namespace_usage, ns, "namespace", CODEC_STRING, .flags = CODEC_REQUIRED),
	FIELD(struct namespace_usage, bytes, CODEC_SIZE, .note = "of all streams"),
	FIELD(struct namespace_usage, messages, CODEC_INT, .note = "of all streams"),
	FIELD(struct namespace_usage, routes, CODEC_INT, .flags = CODEC_OMIT),
	FIELD(struct namespace_usage, slots, CODEC_INT, .flags = CODEC_OMIT),
	FIELD_END,
};
static const struct codec_schema namespace_usage_schema = SCHEMA(namespace_usage);

static const struct codec_field store_usage_fields[] = {
	FIELD(struct store_usage, generation, CODEC_INT),
	FIELD_LIST(struct store_usage, streams, n_streams, CODEC_LIST, &stream_usage_schema),
	FIELD_LIST(struct store_usage, namespaces, n_namespaces, CODEC_LIST,
		   &namespace_usage_schema),
	FIELD_END,
};
const struct codec_schema store_usage_schema = SCHEMA(store_usage);

static const struct codec_field store_compact_request_fields[] = {
	FIELD(struct store_compact_request, keep, CODEC_INT, .flags = CODEC_REQUIRED, .min = 1,
	      .max = 256, .note = "entries per subject that stay"),
	FIELD_KEY(struct store_compact_request, operator_, "operator", CODEC_STRING),
	FIELD_END,
};
const struct codec_schema store_compact_request_schema = SCHEMA(store_compact_request);

static const struct codec_field store_compacted_fields[] = {
	FIELD(struct store_compacted, bytes_before, CODEC_SIZE),
	FIELD(struct store_compacted, bytes_after, CODEC_SIZE),
	FIELD(struct store_compacted, messages_before, CODEC_INT),
	FIELD(struct store_compacted, messages_after, CODEC_INT),
	FIELD_END,
};
const struct codec_schema store_compacted_schema = SCHEMA(store_compacted);

static const struct codec_field store_accept_request_fields[] = {
	FIELD_KEY(struct store_accept_request, operator_, "operator", CODEC_STRING),
	FIELD(struct store_accept_request, why, CODEC_STRING),
	FIELD(struct store_accept_request, force, CODEC_BOOL,
	      .note = "also a store in which meshd sees no error"),
	FIELD_END,
};
const struct codec_schema store_accept_request_schema = SCHEMA(store_accept_request);

static const struct codec_field store_accepted_fields[] = {
	FIELD(struct store_accepted, generation, CODEC_INT, .note = "the new one"),
	FIELD_END,
};
const struct codec_schema store_accepted_schema = SCHEMA(store_accepted);
