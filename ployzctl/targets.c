/* Targets of `ployzctl logs`: `web`, `shop/web`, or a whole namespace, `shop`. */
#include "ployzctl/pure.h"

void targets_add(struct targets *targets, const char *ns, const char *service)
{
	struct target *target;

	for (size_t i = 0; i < targets->count; i++)
		if (streq(targets->items[i].ns, ns) && streq(targets->items[i].service, service))
			return;
	target = array_add(targets->items, targets->count);
	target->ns = xstrdup(ns);
	target->service = xstrdup(service);
}

void targets_clear(struct targets *targets)
{
	for (size_t i = 0; i < targets->count; i++) {
		free(targets->items[i].ns);
		free(targets->items[i].service);
	}
	free(targets->items);
	*targets = (struct targets){ NULL, 0 };
}

static int not_found(const struct targets *known, const char *name, struct failure *failure)
{
	_cleanup_(strv_freep) char **names = NULL;
	_cleanup_free_ char *hint = NULL;
	const char *nearest;

	for (size_t i = 0; i < known->count; i++) {
		const struct target *target = &known->items[i];

		strv_push(&names, xasprintf("%s/%s", target->ns, target->service));
		strv_push(&names, xstrdup(target->service));
		strv_push(&names, xstrdup(target->ns));
	}
	nearest = names ? str_nearest(name, (const char *const *)names) : NULL;
	if (nearest)
		hint = xasprintf("the nearest is '%s', see `ployzctl ps`", nearest);
	return failure_set(failure, FAILURE_NOT_FOUND, hint ? hint : "run `ployzctl ps`",
			   "cannot show the output of '%s': no such service or namespace", name);
}

static int several(const struct targets *matches, const char *name, struct failure *failure)
{
	_cleanup_(strbuf_clear) struct strbuf list = STRBUF_INIT;
	_cleanup_free_ char *hint =
		xasprintf("run `ployzctl logs %s/%s`", matches->items[0].ns, name);

	for (size_t i = 0; i < matches->count; i++)
		strbuf_printf(&list, "%s%s", i ? ", " : "", matches->items[i].ns);
	return failure_set(failure, FAILURE_INVALID, hint,
			   "cannot choose service '%s': several namespaces have it: %s", name,
			   list.text);
}

/* `service`, or `namespace/service`. */
static bool matches(const struct target *target, const char *name)
{
	const char *slash = strchr(name, '/');
	size_t length = slash ? (size_t)(slash - name) : 0;

	if (!slash)
		return streq(target->service, name);
	return strlen(target->ns) == length && strncmp(target->ns, name, length) == 0 &&
	       streq(target->service, slash + 1);
}

int targets_find(const struct targets *known, const char *name, struct targets *to,
		 struct failure *failure)
{
	_cleanup_(targets_clear) struct targets found = { NULL, 0 };

	for (size_t i = 0; i < known->count; i++)
		if (matches(&known->items[i], name))
			targets_add(&found, known->items[i].ns, known->items[i].service);
	if (found.count > 1)
		return several(&found, name, failure);
	if (found.count == 1) {
		targets_add(to, found.items[0].ns, found.items[0].service);
		return 0;
	}
	for (size_t i = 0; i < known->count; i++)
		if (streq(known->items[i].ns, name)) {
			targets_add(to, name, NULL);
			return 0;
		}
	return not_found(known, name, failure);
}
