/* Release: the manifest of one revision with the image ids that its image names resolved to. */
#ifndef PLOYZ_MODEL_RELEASE_H
#define PLOYZ_MODEL_RELEASE_H

#include "lib/model/manifest.h"

/* ployz.v1.manifest.<ns>: written before the commit whose head refers to it. */
struct release {
	char *ns;
	int64_t revision; /* revision that its deploy was to commit */
	int64_t number;	  /* number of this entry in the namespace, from 1 */
	char *deploy;
	char *hash; /* release_hash */
	struct manifest *manifest;
	struct pairs digests; /* service → image id */
	char *at;	      /* RFC 3339 */
	char *nonce;	      /* of this write */
};
DEFINE_MODEL(release);

/* SHA-256 over manifest and digests; owned by the caller. */
char *release_hash(const struct manifest *manifest, const struct pairs *digests);

#endif
