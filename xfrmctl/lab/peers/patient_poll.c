/* poll(2) that gives way, for a foreign daemon in virtual time. LD_PRELOAD.
 *
 * By the guest's clock computing takes no time, so a thread that asks again and again is never preempted: whoever could
 * answer never runs, and the clock stands still for ever. charon's watcher does that while another thread is about to
 * read a file descriptor (5.9.8). After some answers at once the question waits a microsecond, and all others run.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <time.h>

enum { AT_ONCE = 64 };

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    static int (*real)(struct pollfd *, nfds_t, int);
    static __thread int answered;
    int ready;

    if (!real)
        real = (int (*)(struct pollfd *, nfds_t, int))dlsym(RTLD_NEXT, "poll");
    if (answered >= AT_ONCE) {
        struct timespec moment = {0, 1000};
        nanosleep(&moment, NULL);
        answered = 0;
    }
    ready = real(fds, count, timeout);
    answered = ready > 0 ? answered + 1 : 0;
    return ready;
}
