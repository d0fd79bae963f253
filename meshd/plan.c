#include "meshd/meshd.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

char *plan_name(const char *hostname)
{
	struct strbuf name = STRBUF_INIT;
	char *made;
	size_t n;

	for (const char *p = hostname; *p && *p != '.' && name.size < 63; p++) {
		unsigned char c = (unsigned char)tolower((unsigned char)*p);
		bool letter = c >= 'a' && c <= 'z';

		if (!letter && name.size == 0)
			continue;
		if (letter || (c >= '0' && c <= '9'))
			strbuf_add(&name, &c, 1);
		else if (name.text[name.size - 1] != '-')
			strbuf_puts(&name, "-");
	}
	made = strbuf_steal(&name);
	n = strlen(made);
	while (n > 0 && made[n - 1] == '-')
		made[--n] = '\0';
	if (!name_valid(made)) {
		free(made);
		made = xstrdup("machine");
	}
	return made;
}

/* .0 and .255 stay free: people take them for mistakes. */
#define SUBNET_FIRST 1
#define SUBNET_COUNT 254

int plan_pool_parse(const char *text, struct plan_pool *ret)
{
	_cleanup_free_ char *again = NULL;
	int base = -1, third = -1, bits = 0;

	if (!text || sscanf(text, "10.%3d.%3d.0/%2d", &base, &third, &bits) != 3 || base < 0 ||
	    base > 255 || third < 0 || third > 255 || (bits != 24 && (bits != 16 || third != 0)))
		return -EINVAL;
	/* What it reads back to is what was meant: no leading zeros, nothing behind it. */
	again = xasprintf("10.%d.%d.0/%d", base, third, bits);
	if (!streq(again, text))
		return -EINVAL;
	*ret = (struct plan_pool){ .base = base, .third = bits == 24 ? third : -1 };
	return 0;
}

int plan_subnet(const struct plan_pool *pool, const char *machine, unsigned attempt)
{
	_cleanup_free_ char *hash = hash_hex(machine, strlen(machine));
	char word[9] = { 0 };

	if (pool->third >= 0)
		return attempt == 0 ? pool->third : -1;
	if (attempt >= SUBNET_COUNT)
		return -1;
	memcpy(word, hash, 8);
	return SUBNET_FIRST + (int)((strtoul(word, NULL, 16) + attempt) % SUBNET_COUNT);
}

char *plan_subnet_text(const struct plan_pool *pool, int third)
{
	return xasprintf("10.%d.%d.0/24", pool->base, third);
}

char *plan_subnet_claim(const struct plan_pool *pool, int third)
{
	return xasprintf("10-%d-%d", pool->base, third);
}

int plan_subnet_parse(const struct plan_pool *pool, const char *text)
{
	struct plan_pool one;

	if (plan_pool_parse(text, &one) < 0 || one.third < 0 || one.base != pool->base)
		return -1;
	return pool->third < 0 || pool->third == one.third ? one.third : -1;
}

static void note(struct strbuf *why, const char *what, const char *was, const char *is)
{
	if (was)
		strbuf_printf(why, "%s%s %s → %s", why->size ? ", " : "", what, was, is);
	else
		strbuf_printf(why, "%s%s %s", why->size ? ", " : "", what, is);
}

static void take(char **field, const char *is, const char *what, struct strbuf *why)
{
	if (streq(*field, is))
		return;
	note(why, what, *field, is);
	free(*field);
	*field = xstrdup(is);
}

struct machine *plan_record(const struct machine *actual, const struct plan_facts *facts,
			    char **ret_why)
{
	struct machine *wanted =
		actual ? codec_copy(&machine_schema, actual) : codec_new(&machine_schema);
	struct strbuf why = STRBUF_INIT;

	if (!actual) {
		free(wanted->id);
		wanted->id = xstrdup(facts->machine);
		free(wanted->region);
		wanted->region = xstrdup(facts->region);
		wanted->life_cycle = MACHINE_ACTIVE;
		free(wanted->quorum);
		wanted->quorum = xstrdup("member");
		wanted->generation = 1;
		free(wanted->since);
		wanted->since = xstrdup(facts->now);
		strbuf_puts(&why, "first record");
	}
	take(&wanted->name, facts->name, "name", &why);
	take(&wanted->subnet, facts->subnet, "subnet", &why);
	take(&wanted->arch, facts->arch, "architecture", &why);
	take(&wanted->version, facts->version, "version", &why);
	if (!why.size) {
		machine_free(wanted);
		return NULL;
	}
	*ret_why = strbuf_steal(&why);
	return wanted;
}
