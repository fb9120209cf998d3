#include "engine/process/event.h"

#include <stddef.h>

#include "engine/base/check.h"
#include "engine/process/process.h"
#include "interp/wasi/wasi.h"

void proc_event_init(struct proc_event *event, struct proc *proc,
                     void (*destroy)(struct proc_event *event))
{
    *event = (struct proc_event){.proc = proc, .refs = 1, .destroy = destroy};
}

struct proc_event *proc_event_ref(struct proc_event *event)
{
    event->refs++;
    return event;
}

void proc_event_unref(struct proc_event *event)
{
    CHECK(event->refs > 0);
    if (--event->refs == 0)
        event->destroy(event);
}

void proc_event_fire(struct proc_event *event)
{
    event->ready = true;
    proc_wake(event->proc);
}

static bool pollable_ready(void *object)
{
    const struct proc_event *event = object;
    return event->ready;
}

static void pollable_drop(void *object)
{
    proc_event_unref(object);
}

struct wasi_pollable *proc_event_pollable(struct proc_event *event)
{
    static const struct wasi_pollable_ops ops = {pollable_ready, pollable_drop};
    struct wasi_pollable *pollable = wasi_pollable_create(event->proc->wasi, &ops, event);
    if (pollable != NULL)
        (void)proc_event_ref(event);
    return pollable;
}
