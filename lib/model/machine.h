/* Members, regions and subnets: intent. What a machine reports about itself: facts. */
#ifndef PLOYZ_MODEL_MACHINE_H
#define PLOYZ_MODEL_MACHINE_H

#include "lib/codec.h"

enum life_cycle {
	MACHINE_JOINING,
	MACHINE_ACTIVE,
	MACHINE_DRAINING,
	MACHINE_STANDBY,
	MACHINE_REMOVED
};
extern const char *const life_cycle_names[];
enum region_role { REGION_HOME_DATA, REGION_COMPUTE, REGION_DRAINING, REGION_DISABLED };
extern const char *const region_role_names[];

/* ployz.v1.intent.member.<id>: the admission of a machine. A member consists of this record and the
 * machine's own facts. */
struct member {
	char *id;
	char *name;
	char *public_key; /* WireGuard's, base64; NULL while there is no mesh */
	char *overlay;	  /* IPv6 address in the mesh, or NULL */
	char *subnet;	  /* containers' IPv4 network: 10.101.N.0/24 */
	char *region;
	char *zone;
	struct pairs labels;
	int life_cycle;
	bool seat;   /* it has a store seat */
	char *since; /* RFC 3339 */
	char *nonce; /* of this write */
};
DEFINE_MODEL(member);

/* ployz.v1.facts.<machine>: what a machine reports about itself. */
struct machine_facts {
	char *machine;
	char **endpoints; /* address:port where WireGuard is reached */
	char *version;
	char *arch;	    /* as the engine names it: x86_64 */
	int64_t cpus;	    /* total */
	uint64_t memory;    /* total, bytes */
	int64_t generation; /* highest store generation that the machine has seen */
	char *since;	    /* RFC 3339 */
	char *nonce;	    /* of this write */
};
DEFINE_MODEL(machine_facts);

/* ployz.v1.intent.region.<name> */
struct region {
	char *name;
	int role;
	char *since;
	char *who;
	char *nonce; /* of this write */
};
DEFINE_MODEL(region);

/* ployz.v1.intent.subnet.<a-b-c> */
struct subnet_claim {
	char *machine;
	char *since;
	char *nonce; /* of this write */
};
DEFINE_MODEL(subnet_claim);

/* Whether agentd, routed and dnsd of a member take part in deploys, because they may have
 * containers or traffic. True in every state but joining and removed: the gateway of a standby
 * machine serves, too. */
static inline bool member_takes_part(const struct member *member)
{
	return member->life_cycle != MACHINE_JOINING && member->life_cycle != MACHINE_REMOVED;
}

#endif
