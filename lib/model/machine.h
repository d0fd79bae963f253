/* Machine and region records: intent. */
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

/* ployz.v1.intent.machine.<id> */
struct machine {
	char *id;
	char *name;
	char *public_key; /* WireGuard's, base64; NULL while there is no mesh */
	char *overlay;	  /* IPv6 address in the mesh, or NULL */
	char *subnet;	  /* containers' IPv4 network: 10.101.N.0/24 */
	char **endpoints; /* address:port where WireGuard is reached */
	char *region;
	char *zone;
	struct pairs labels;
	char *arch; /* as the engine names it: x86_64 */
	int life_cycle;
	char *quorum;	    /* `member` or NULL */
	int64_t generation; /* highest founding of the store that it has seen */
	char *version;
	char *since; /* RFC 3339 */
};
DEFINE_MODEL(machine);

/* ployz.v1.intent.region.<name> */
struct region {
	char *name;
	int role;
	char *since;
	char *who;
};
DEFINE_MODEL(region);

/* ployz.v1.intent.subnet.<a-b-c> */
struct subnet_claim {
	char *machine;
	char *since;
};
DEFINE_MODEL(subnet_claim);

#endif
