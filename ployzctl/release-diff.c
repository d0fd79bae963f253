/* What differs between two releases: the fields of their services, volumes and grants as they are
 * encoded, and the images that ran (pure). */
#include "ployzctl/pure.h"
#include "ployzctl/ployzctl.h"

#define SHOWN_MAX 60	/* characters of a value that are shown */
#define DIGEST_SHOWN 12 /* hex digits of a digest that are shown */

static void add(struct differences *to, const char *part, const char *field, char *before,
		char *after)
{
	struct difference *d = array_add(to->items, to->count);

	d->part = xstrdup(part);
	d->field = xstrdup(field);
	d->from = before;
	d->to = after;
}

void differences_clear(struct differences *differences)
{
	for (size_t i = 0; i < differences->count; i++) {
		free(differences->items[i].part);
		free(differences->items[i].field);
		free(differences->items[i].from);
		free(differences->items[i].to);
	}
	free(differences->items);
	*differences = (struct differences){ NULL, 0 };
}

/* A string stands for itself, everything else is JSON; owned by the caller. */
static char *value_text(const json_t *value)
{
	return json_is_string(value) ? xstrdup(json_string_value(value)) : json_text(value);
}

static char *field_name(const char *prefix, const char *key)
{
	return prefix ? xasprintf("%s.%s", prefix, key) : xstrdup(key);
}

static void compare_objects(struct differences *to, const char *part, const char *prefix,
			    json_t *from, json_t *after);

/* An object that one side lacks is compared with an empty one, so that each of its keys is shown.
 */
static void compare_values(struct differences *to, const char *part, const char *field,
			   json_t *from, json_t *after)
{
	_cleanup_json_ json_t *nothing = json_object();

	if ((!from || json_is_object(from)) && (!after || json_is_object(after)))
		compare_objects(to, part, field, from ? from : nothing, after ? after : nothing);
	else if (!json_equal(from, after))
		add(to, part, field, from ? value_text(from) : NULL,
		    after ? value_text(after) : NULL);
}

static void compare_objects(struct differences *to, const char *part, const char *prefix,
			    json_t *from, json_t *after)
{
	const char *key;
	json_t *value;

	json_object_foreach (after, key, value) {
		_cleanup_free_ char *field = field_name(prefix, key);

		compare_values(to, part, field, json_object_get(from, key), value);
	}
	json_object_foreach (from, key, value) {
		_cleanup_free_ char *field = field_name(prefix, key);

		if (!json_object_get(after, key))
			compare_values(to, part, field, value, NULL);
	}
}

/* A part that is new or gone is one difference of its own, with what identifies it. */
static void compare_parts(struct differences *to, const char *part, json_t *from, json_t *after,
			  const char *summary_key)
{
	const json_t *value = json_object_get(from ? from : after, summary_key);
	char *summary = value ? value_text(value) : xstrdup("");

	if (from && after) {
		free(summary);
		compare_objects(to, part, NULL, from, after);
	} else {
		add(to, part, NULL, from ? summary : NULL, from ? NULL : summary);
	}
}

static json_t *service_json(const struct release *release, const char *name)
{
	const struct service *service = release ? manifest_service(release->manifest, name) : NULL;
	const char *digest = service ? pairs_get(&release->digests, name) : NULL;
	json_t *json = service ? codec_encode(&service_schema, service) : NULL;

	if (digest)
		json_object_set_new(json, "digest", json_string(digest));
	return json;
}

static json_t *volume_json(const struct release *release, const char *name)
{
	const struct volume *volume = release ? manifest_volume(release->manifest, name) : NULL;

	return volume ? codec_encode(&volume_schema, volume) : NULL;
}

static json_t *grants_json(const struct release *release)
{
	json_t *json = json_object();

	for (size_t i = 0; release && i < release->manifest->grants.count; i++) {
		const struct grant *grant = &release->manifest->grants.items[i];
		json_t *list = json_array();

		for (char **ns = grant->namespaces; ns && *ns; ns++)
			json_array_append_new(list, json_string(*ns));
		json_object_set_new(json, grant->host, list);
	}
	return json;
}

static void push_new(char ***names, const char *name)
{
	if (!strv_contains(*names, name))
		strv_push(names, xstrdup(name));
}

void release_diff(const struct release *from, const struct release *to, struct differences *ret)
{
	_cleanup_(strv_freep) char **services = NULL, **volumes = NULL;
	const struct release *both[] = { to, from };
	_cleanup_json_ json_t *granted = grants_json(from), *grants = grants_json(to);

	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		for (size_t j = 0; both[i] && j < both[i]->manifest->n_services; j++)
			push_new(&services, both[i]->manifest->services[j].name);
		for (size_t j = 0; both[i] && j < both[i]->manifest->n_volumes; j++)
			push_new(&volumes, both[i]->manifest->volumes[j].name);
	}
	for (char **name = services; name && *name; name++) {
		_cleanup_free_ char *part = xasprintf("services.%s", *name);
		_cleanup_json_ json_t *a = service_json(from, *name), *b = service_json(to, *name);

		compare_parts(ret, part, a, b, "image");
	}
	for (char **name = volumes; name && *name; name++) {
		_cleanup_free_ char *part = xasprintf("volumes.%s", *name);
		_cleanup_json_ json_t *a = volume_json(from, *name), *b = volume_json(to, *name);

		compare_parts(ret, part, a, b, "mode");
	}
	compare_objects(ret, "grants", NULL, granted, grants);
}

/* --- as text */

/* A value on one line: a digest is shortened, a long or multi-line one becomes its size. */
static char *shown(const char *field, const char *value)
{
	const char *colon = strchr(value, ':');

	if (streq(field, "digest") && colon && strlen(colon + 1) > DIGEST_SHOWN)
		return xasprintf("%.*s", (int)(colon - value) + 1 + DIGEST_SHOWN, value);
	if (strchr(value, '\n') || text_width(value) > SHOWN_MAX)
		return xasprintf("(%zu bytes)", strlen(value));
	return text_safe(*value ? value : "(empty)");
}

char *differences_text(const struct differences *differences)
{
	struct strbuf text = STRBUF_INIT;
	const char *part = NULL;

	for (size_t i = 0; i < differences->count; i++) {
		const struct difference *d = &differences->items[i];
		_cleanup_free_ char *from = d->from ? shown(d->field, d->from) : NULL;
		_cleanup_free_ char *to = d->to ? shown(d->field, d->to) : NULL;
		_cleanup_free_ char *field = text_safe(d->field);

		if (!d->field) {
			strbuf_printf(&text, "%s %s (%s)\n", from ? "-" : "+", d->part,
				      from ? from : to);
			continue;
		}
		if (!streq(part, d->part))
			strbuf_printf(&text, "~ %s\n", d->part);
		part = d->part;
		if (from && to)
			strbuf_printf(&text, "    ~ %s: %s to %s\n", field, from, to);
		else
			strbuf_printf(&text, "    %s %s: %s\n", from ? "-" : "+", field,
				      from ? from : to);
	}
	if (!differences->count)
		strbuf_puts(&text, "  no difference\n");
	return strbuf_steal(&text);
}
