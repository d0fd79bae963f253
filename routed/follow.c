#include "routed/routed.h"

/* The log as routed sees it: entries go into the view, and once a turn the view becomes a table. */

static void on_entry(const char *subject, uint64_t sequence, const char *data, size_t size,
		     void *userdata)
{
	struct routed *routed = userdata;

	if (view_take(&routed->view, subject, sequence, data, size) == -EBADMSG)
		log_warning("%s: %s", subject,
			    (const char *)map_get(&routed->view.troubles, subject));
}

static void on_settled(uint64_t sequence, void *userdata)
{
	sync_table(userdata, sequence);
}

static const struct projection_ops ops = { .entry = on_entry, .settled = on_settled };

void routed_follow(struct routed *routed)
{
	routed->projection =
		projection_new(routed->bus, routed->config->daemon.machine, NULL, &ops, routed);
}
