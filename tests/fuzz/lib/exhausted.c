/* Linked in the place of mem_exhausted: what seems to be the end of memory is a fault like others.
 */
#include "tests/fuzz/fuzz.h"

_noreturn_ void __wrap_mem_exhausted(void);

_noreturn_ void __wrap_mem_exhausted(void)
{
	fprintf(stderr, "memory is exhausted, or so it seemed\n");
	abort();
}
