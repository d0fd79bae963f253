/* Manifest check: the rules that schema rows cannot express: references between parts, and values.
 */
#ifndef PLOYZ_MODEL_MANIFEST_CHECK_H
#define PLOYZ_MODEL_MANIFEST_CHECK_H

#include "lib/model/manifest.h"

/* Called once for each broken rule; both texts are borrowed. */
typedef void manifest_report(const char *path, const char *message, void *userdata);

void manifest_check(const struct manifest *manifest, manifest_report *report, void *userdata);

#endif
