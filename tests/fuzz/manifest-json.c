/* A manifest in JSON, as an operator's editor left it.
 * covers: lib/document.c lib/codec.c lib/codec-encode.c lib/model/manifest.c
 * lib/model/manifest-parse.c lib/model/manifest-check.c */
#include "tests/fuzz/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	manifest_input("m.json", data, size);
	return 0;
}
