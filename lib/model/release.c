#include "lib/model/release.h"

#include "lib/str.h"

static const struct codec_field release_fields[] = {
	FIELD_KEY(struct release, ns, "namespace", CODEC_NAME, .flags = CODEC_REQUIRED),
	FIELD(struct release, revision, CODEC_INT,
	      .note = "revision that its deploy was to commit"),
	FIELD(struct release, number, CODEC_INT, .note = "of this entry in the namespace, from 1"),
	FIELD(struct release, deploy, CODEC_STRING),
	FIELD(struct release, hash, CODEC_STRING, .note = "of manifest and digests"),
	FIELD(struct release, manifest, CODEC_POINTER, .flags = CODEC_REQUIRED,
	      .schema = &manifest_schema),
	FIELD(struct release, digests, CODEC_PAIRS, .note = "service to image id"),
	FIELD(struct release, at, CODEC_STRING),
	FIELD(struct release, nonce, CODEC_STRING, .note = "of this write"),
	FIELD_END,
};
const struct codec_schema release_schema = {
	.name = "release",
	.size = sizeof(struct release),
	.fields = release_fields,
};

char *release_hash(const struct manifest *manifest, const struct pairs *digests)
{
	_cleanup_json_ json_t *json = json_object();
	_cleanup_free_ char *text = NULL;
	json_t *images = json_object();

	for (size_t i = 0; i < digests->count; i++)
		json_object_set_new(images, digests->items[i].key,
				    json_string(digests->items[i].value));
	json_object_set_new(json, "manifest", codec_encode(&manifest_schema, manifest));
	json_object_set_new(json, "digests", images);
	text = json_sorted(json);
	return hash_hex(text, strlen(text));
}
