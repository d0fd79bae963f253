#include "leased/leased.h"

struct errand {
	struct walk *walk;
	struct errand *next, **link;
	struct bus_request *request;
	errand_fn fn;
	void *what;
};

static void unlink_errand(struct errand *e)
{
	*e->link = e->next;
	if (e->next)
		e->next->link = e->link;
}

static void on_answer(const struct failure *failure, void *answer, void *userdata)
{
	struct errand *e = userdata;
	struct walk *walk = e->walk;
	errand_fn fn = e->fn;
	void *what = e->what;

	unlink_errand(e);
	free(e);
	fn(walk, failure, answer, what);
}

void errand(struct walk *walk, enum subject_id subject, const char *machine, const void *request,
	    uint64_t timeout_usec, errand_fn fn, void *what)
{
	struct errand *e = xcalloc(1, sizeof(*e));

	e->walk = walk;
	e->fn = fn;
	e->what = what;
	e->next = walk->errands;
	e->link = &walk->errands;
	if (e->next)
		e->next->link = &e->next;
	walk->errands = e;
	bus_ask(walk->leased->daemon->bus, subject, machine, request, timeout_usec, on_answer, e,
		&e->request);
}

void errands_cancel(struct walk *walk)
{
	while (walk->errands) {
		struct errand *e = walk->errands;

		unlink_errand(e);
		bus_request_cancel(e->request);
		free(e);
	}
}

bool agent_is_silent(struct candidate *c, const struct failure *failure)
{
	c->asking = false;
	if (!failure) {
		c->heard_usec = boot_now_usec();
		return false;
	}
	/* A daemon that is being restarted is asked again with the next tick; a refusal is
	 * final. */
	if ((failure->code != FAILURE_UNREACHABLE && failure->code != FAILURE_TIMEOUT) ||
	    boot_now_usec() - c->heard_usec > AGENT_SILENT_USEC)
		walk_fail(c->walk, failure);
	return true;
}
