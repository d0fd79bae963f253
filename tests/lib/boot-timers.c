/* Loaded before libfaketime: that moves every timer that is set to a moment by the faked hour, also
 * those of the clocks that it was told to leave alone (0.9.10). The kernel gets them as they are.
 */
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

int timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *was)
{
	return (int)syscall(SYS_timerfd_settime, fd, flags, to, was);
}
