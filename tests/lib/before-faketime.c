/* Loaded before libfaketime, for what that does wrong (0.9.10). */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int (*faked_gettime)(clockid_t clock, struct timespec *at);
static int (*faked_cond_init)(pthread_cond_t *condition, const pthread_condattr_t *how);

/* It moves every timer that is set to a moment by the faked hour, also those of the clocks that it
 * was told to leave alone. The kernel gets them as they are. */
int timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *was)
{
	return (int)syscall(SYS_timerfd_settime, fd, flags, to, was);
}

/* When it begins it needs memory. jemalloc, which Debian 13's HAProxy is linked with, needs the
 * time and a condition when that begins, and each would wait for the other: until all have begun,
 * they are had without it. */
int clock_gettime(clockid_t clock, struct timespec *at)
{
	return faked_gettime ? faked_gettime(clock, at)
			     : (int)syscall(SYS_clock_gettime, clock, at);
}

int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *how)
{
	static const pthread_cond_t plain = PTHREAD_COND_INITIALIZER;

	if (faked_cond_init)
		return faked_cond_init(condition, how);
	/* jemalloc's has no attributes. */
	if (how)
		return ENOTSUP;
	memcpy(condition, &plain, sizeof(plain));
	return 0;
}

/* What was loaded first begins last. */
__attribute__((constructor)) static void begin(void)
{
	*(void **)&faked_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	*(void **)&faked_cond_init = dlsym(RTLD_NEXT, "pthread_cond_init");
}
