/* Follow: entries go into the view; a complete view becomes a table. */
#include "routed/routed.h"

static void on_entry(const char *subject, uint64_t sequence, const char *data, size_t size,
		     void *userdata)
{
	struct routed *routed = userdata;

	routed->partial = true;
	if (view_take(&routed->view, subject, sequence, data, size) == -EBADMSG)
		log_warning("cannot decode %s; serving its last good entry",
			    (const char *)map_get(&routed->view.errors, subject));
}

static void on_settled(const struct watermark *applied, void *userdata)
{
	struct routed *routed = userdata;

	routed->partial = false;
	view_settle(&routed->view, applied, routed->last_good);
	/* Now the view contains every last good entry. */
	json_decref(steal(routed->last_good));
	sync_table(routed, applied);
}

static const struct projection_ops ops = { .entry = on_entry, .settled = on_settled };

void routed_follow(struct routed *routed)
{
	_cleanup_free_ char *heads = subject_filter(SUBJECT_NAMESPACE);
	_cleanup_free_ char *claims = subject_filter(SUBJECT_ROUTE);
	_cleanup_free_ char *members = subject_filter(SUBJECT_MEMBER);
	_cleanup_free_ char *facts = subject_filter(SUBJECT_INSTANCES);
	const struct projection_options options = {
		.machine = routed->config->daemon.machine,
		.intent = (const char *const[]){ heads, claims, members, NULL },
		.facts = (const char *const[]){ facts, NULL },
		.served = routed->table->watermark,
		.seen = routed->table->seen,
	};

	routed->projection = projection_new(routed->bus, &options, &ops, routed);
}
