/* Whose output is meant: `web`, `shop/web`, or a whole namespace, `shop`. */
#include "ployzctl/reading.h"

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

static int not_found(const struct targets *known, const char *word, struct failure *failure)
{
	_cleanup_(strv_freep) char **names = NULL;
	const char *near;
	int r;

	for (size_t i = 0; i < known->count; i++) {
		const struct target *target = &known->items[i];

		strv_push(&names, xasprintf("%s/%s", target->ns, target->service));
		strv_push(&names, xstrdup(target->service));
		strv_push(&names, xstrdup(target->ns));
	}
	near = names ? str_nearest(word, (const char *const *)names) : NULL;
	if (near)
		r = failure_set(failure, FAILURE_NOT_FOUND, "ployzctl ps",
				"there is no service or namespace '%s'; did you mean '%s'?", word,
				near);
	else
		r = failure_set(failure, FAILURE_NOT_FOUND, "ployzctl ps",
				"there is no service or namespace '%s'", word);
	return r;
}

static int several(const struct targets *matches, const char *word, struct failure *failure)
{
	_cleanup_(strbuf_clear) struct strbuf list = STRBUF_INIT;
	_cleanup_free_ char *hint = xasprintf("ployzctl logs %s/%s", matches->items[0].ns, word);

	for (size_t i = 0; i < matches->count; i++)
		strbuf_printf(&list, "%s%s", i ? ", " : "", matches->items[i].ns);
	return failure_set(failure, FAILURE_INVALID, hint,
			   "'%s' is a service of more than one namespace: %s", word, list.text);
}

/* A whole name, or a part of it before the slash. */
static bool matches(const struct target *target, const char *word)
{
	const char *slash = strchr(word, '/');
	size_t length = slash ? (size_t)(slash - word) : 0;

	if (!slash)
		return streq(target->service, word);
	return strlen(target->ns) == length && strncmp(target->ns, word, length) == 0 &&
	       streq(target->service, slash + 1);
}

int targets_find(const struct targets *known, const char *word, struct targets *to,
		 struct failure *failure)
{
	_cleanup_(targets_clear) struct targets found = { NULL, 0 };

	for (size_t i = 0; i < known->count; i++)
		if (matches(&known->items[i], word))
			targets_add(&found, known->items[i].ns, known->items[i].service);
	if (found.count > 1)
		return several(&found, word, failure);
	if (found.count == 1) {
		targets_add(to, found.items[0].ns, found.items[0].service);
		return 0;
	}
	for (size_t i = 0; i < known->count; i++)
		if (streq(known->items[i].ns, word)) {
			targets_add(to, word, NULL);
			return 0;
		}
	return not_found(known, word, failure);
}
