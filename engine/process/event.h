/* Something that one process waits for: the first member of every object that has a pollable.
 *
 * References are held by the guest's handle, by its pollables, and by whoever will fire it. The
 * object dies with the last one, so a pollable may outlive the handle it came from. */
#ifndef ENGINE_PROCESS_EVENT_H
#define ENGINE_PROCESS_EVENT_H

#include <stdbool.h>
#include <stdint.h>

struct proc;
struct wasi_pollable;

struct proc_event {
    struct proc *proc; /* who waits; borrowed: all its handles die with it */
    uint32_t refs;
    bool ready;
    void (*destroy)(struct proc_event *event); /* frees the whole object */
};

/* One reference, not ready. */
void proc_event_init(struct proc_event *event, struct proc *proc,
                     void (*destroy)(struct proc_event *event));
struct proc_event *proc_event_ref(struct proc_event *event);
void proc_event_unref(struct proc_event *event);
/* It is ready from now on (until its owner clears `ready`); the process looks again. */
void proc_event_fire(struct proc_event *event);

/* A new pollable that holds a reference; NULL when memory is out. */
struct wasi_pollable *proc_event_pollable(struct proc_event *event);

#endif
