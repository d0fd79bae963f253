/* A manifest in YAML: libyaml's events become the same document.
 * covers: lib/document.c lib/codec.c lib/codec-encode.c lib/model/manifest.c
 * lib/model/manifest-parse.c lib/model/manifest-check.c */
#include "tests/fuzz/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	manifest_input("m.yaml", data, size);
	return 0;
}
