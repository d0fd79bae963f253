/* A manifest in JSON: any text.
 *
 * covers: lib/document.c lib/codec.c lib/codec-encode.c lib/model/manifest.c
 * lib/model/manifest-parse.c lib/model/manifest-check.c lib/model/route-path.c */
#include "tests/fuzz/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	manifest_input("m.json", data, size);
	return 0;
}
