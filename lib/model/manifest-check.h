/* What rows cannot say of a manifest: how its parts refer to each other, and what values may be. */
#ifndef PLOYZ_MODEL_MANIFEST_CHECK_H
#define PLOYZ_MODEL_MANIFEST_CHECK_H

#include "lib/model/manifest.h"

/* Called once for each rule that is broken; both texts are borrowed. */
typedef void manifest_report(const char *path, const char *message, void *userdata);

void manifest_check(const struct manifest *manifest, manifest_report *report, void *userdata);

#endif
