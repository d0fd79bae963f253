/* Namespace head: one entry of the log is the namespace whole. */
#ifndef PLOYZ_MODEL_NAMESPACE_H
#define PLOYZ_MODEL_NAMESPACE_H

#include "lib/model/manifest.h"

struct slot {
	int64_t slot; /* 0, 1, … */
	char *instance;
	char *machine;
	char *address; /* IPv4 that the instance had when it was committed */
	char *deploy;  /* that started the instance */
	char *hash;    /* service_hash of what runs there */
};
struct head_service {
	char *name;
	char *digest; /* of the image */
	struct slot *slots;
	size_t n_slots;
};
struct open_deploy {
	char *deploy;
	int64_t epoch;
	char *machine; /* whose leased walks it */
	char *verb;
	char *operator_; /* wire: `operator` */
	char *since;
};

/* ployz.v1.intent.namespace.<ns> */
struct head {
	char *ns;
	int64_t revision;  /* raised by each commit; 0: nothing was ever committed */
	int64_t committed; /* sequence of the entry that committed this revision; 0: this entry
			      itself */
	char *deploy;	   /* that committed it */
	char *verb;	   /* deploy, remove, rollback … */
	char *operator_;   /* wire: `operator`: who */
	char *from;	   /* wire: `from`: the machine it was asked on */
	char *why;	   /* free text, or NULL */
	char *at;	   /* RFC 3339 */
	int64_t epoch;	   /* of the writer of this entry */
	char *nonce;	   /* a writer knows its own entry by it */
	char *hash;	   /* manifest_hash */
	struct manifest *manifest;
	struct head_service *services; /* those of the manifest, in its order */
	size_t n_services;
	struct open_deploy *open; /* NULL: none */
	char *outcome; /* on an aborting entry: what became of the deploy that was open */
};
DEFINE_MODEL(open_deploy);
DEFINE_MODEL(head_service);
DEFINE_MODEL(head);

/* Sequence of the entry that committed this state, given the sequence `head` was read at. */
uint64_t head_committed(const struct head *head, uint64_t sequence);
const struct head_service *head_service(const struct head *head, const char *name);
/* The slot that names this instance, or NULL. `ret_service` may be NULL. Borrowed. */
const struct slot *head_instance(const struct head *head, const char *instance,
				 const struct head_service **ret_service);

#endif
