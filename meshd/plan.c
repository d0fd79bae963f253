/* Plan (pure): names, subnets, and whether a record has to be written. */
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
	_cleanup_free_ char *canonical = NULL;
	int base = -1, third = -1, bits = 0;

	if (!text || sscanf(text, "10.%3d.%3d.0/%2d", &base, &third, &bits) != 3 || base < 0 ||
	    base > 255 || third < 0 || third > 255 || (bits != 24 && (bits != 16 || third != 0)))
		return -EINVAL;
	/* Only the canonical form is accepted: no leading zeros, nothing after it. */
	canonical = xasprintf("10.%d.%d.0/%d", base, third, bits);
	if (!streq(canonical, text))
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

static void set_text(char **field, const char *is, const char *what, struct strbuf *why)
{
	if (streq(*field, is))
		return;
	note(why, what, *field, is);
	free(*field);
	*field = xstrdup(is);
}

static void set_number(int64_t *field, int64_t is, const char *what, struct strbuf *why)
{
	_cleanup_free_ char *was = NULL, *now = NULL;

	if (*field == is)
		return;
	was = *field ? xasprintf("%lld", (long long)*field) : NULL;
	now = xasprintf("%lld", (long long)is);
	note(why, what, was, now);
	*field = is;
}

static void set_size(uint64_t *field, uint64_t is, const char *what, struct strbuf *why)
{
	_cleanup_free_ char *was = NULL, *now = NULL;

	if (*field == is)
		return;
	was = *field ? size_human(*field) : NULL;
	now = size_human(is);
	note(why, what, was, now);
	*field = is;
}

static void replace(char **field, const char *with)
{
	free(*field);
	*field = xstrdup(with);
}

struct member *plan_member(const struct member *actual, const struct plan_machine *machine,
			   char **ret_why)
{
	struct member *wanted =
		actual ? codec_copy(&member_schema, actual) : codec_new(&member_schema);
	struct strbuf why = STRBUF_INIT;

	if (!actual) {
		replace(&wanted->id, machine->machine);
		replace(&wanted->region, machine->region);
		replace(&wanted->since, machine->now);
		wanted->life_cycle = MACHINE_ACTIVE;
		wanted->seat = true;
		strbuf_puts(&why, "first record");
	}
	set_text(&wanted->name, machine->name, "name", &why);
	set_text(&wanted->subnet, machine->subnet, "subnet", &why);
	if (!why.size) {
		member_free(wanted);
		return NULL;
	}
	replace(&wanted->nonce, machine->nonce);
	*ret_why = strbuf_steal(&why);
	return wanted;
}

struct machine_facts *plan_facts(const struct machine_facts *actual,
				 const struct plan_machine *machine, char **ret_why)
{
	struct machine_facts *wanted = actual ? codec_copy(&machine_facts_schema, actual)
					      : codec_new(&machine_facts_schema);
	struct strbuf why = STRBUF_INIT;

	replace(&wanted->machine, machine->machine);
	set_text(&wanted->version, machine->version, "version", &why);
	set_text(&wanted->arch, machine->arch, "architecture", &why);
	set_number(&wanted->cpus, machine->cpus, "cpus", &why);
	set_size(&wanted->memory, machine->memory, "memory", &why);
	set_number(&wanted->generation, machine->generation, "generation", &why);
	if (!why.size) {
		machine_facts_free(wanted);
		return NULL;
	}
	replace(&wanted->since, machine->now);
	replace(&wanted->nonce, machine->nonce);
	*ret_why = strbuf_steal(&why);
	return wanted;
}
