#define _GNU_SOURCE /* ppoll */
#include "engine/runtime/bell.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum err rt_bell_open(struct rt_bell *bell, struct report *report)
{
    bell->other = -1;
    bell->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bell->fd >= 0)
        return ERR_OK;
    return err_set(report, ERR_IO, "cannot make an eventfd for the loop: %s", strerror(errno));
}

void rt_bell_close(struct rt_bell *bell)
{
    if (bell->fd >= 0)
        (void)close(bell->fd);
    bell->fd = -1;
}

void rt_bell_ring(void *user)
{
    const struct rt_bell *bell = user;
    int saved = errno;
    uint64_t one = 1;
    /* Fails only when the counter is full, and then it rings. */
    ssize_t written = write(bell->fd, &one, sizeof one);
    (void)written;
    errno = saved;
}

void rt_bell_wait(struct rt_bell *bell, uint64_t timeout_ns)
{
    struct pollfd polls[2] = {{.fd = bell->fd, .events = POLLIN},
                              {.fd = bell->other, .events = POLLIN}}; /* -1 is passed over */
    struct timespec time_ = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                             .tv_nsec = (long)(timeout_ns % 1000000000u)};
    /* An interruption by a signal is a return, too: whoever waits looks around. */
    if (timeout_ns != 0)
        (void)ppoll(polls, 2, timeout_ns == UINT64_MAX ? NULL : &time_, NULL);
    uint64_t rings;
    ssize_t got = read(bell->fd, &rings, sizeof rings);
    (void)got;
}
