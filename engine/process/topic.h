/* Messages between processes, and from outside to a process: named queues and broadcasts.
 *
 * A topic exists while anyone has to do with it. Names are the caller's business: the topics of
 * users are "USER:NAME", a process's inbox is its id, the files sent to it "ID#file". */
#ifndef ENGINE_PROCESS_TOPIC_H
#define ENGINE_PROCESS_TOPIC_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/base/map.h"
#include "engine/process/event.h"

enum { PROC_MESSAGE_BYTES_MAX = 256 << 20 }; /* of all messages that nobody has read yet */

struct proc_topic;

struct proc_topics {
    struct map by_name;
    size_t message_bytes; /* alive now */
};

struct proc_message {
    struct proc_topics *topics;
    size_t refs, bytes;
    char data[];
};

/* One message to come. */
struct proc_pull {
    struct proc_event event;
    struct proc_message *message; /* NULL until it has come */
    bool seen;                    /* the guest has read it: not to be given to another */
    struct proc_topic *topic;     /* NULL once it has come or cannot come any more */
    struct proc_pull *next, *previous;
};

/* Every broadcast from now on. */
struct proc_subscription {
    struct proc_event event;  /* ready: a message is there, or it was unsubscribed */
    struct proc_topic *topic; /* NULL once unsubscribed */
    struct proc_subscription *next, *previous;
    struct {
        struct proc_message **items;
        size_t count, capacity;
    } queue;
    size_t first; /* of the queue, not taken yet */
};

void proc_topics_init(struct proc_topics *topics);
void proc_topics_deinit(struct proc_topics *topics); /* no process is left */

/* To the one who waits longest, else into the queue. ERR_LIMIT, ERR_MEMORY. */
enum err proc_topic_push(struct proc_topics *topics, const char *name, size_t name_bytes,
                         const void *data, size_t bytes, struct report *report) ERR_MUST_USE;
/* The next message that nobody else gets. Destroyed unread, it goes back to the front of the
 * queue. NULL when memory is out. */
struct proc_pull *proc_topic_pull(struct proc_topics *topics, const char *name, size_t name_bytes,
                                  struct proc *proc);

/* To all who are subscribed now. ERR_LIMIT, ERR_MEMORY (some may have got it). */
enum err proc_topic_broadcast(struct proc_topics *topics, const char *name, size_t name_bytes,
                              const void *data, size_t bytes, struct report *report) ERR_MUST_USE;
struct proc_subscription *proc_topic_subscribe(struct proc_topics *topics, const char *name,
                                               size_t name_bytes, struct proc *proc);
/* The oldest message not taken, the caller's to unref; NULL when there is none. */
struct proc_message *proc_subscription_take(struct proc_subscription *subscription);
/* No more messages; what is queued is forgotten. May be called again. */
void proc_subscription_end(struct proc_subscription *subscription);

void proc_message_unref(struct proc_message *message);

/* Forgets what is queued under a name; pulls that wait for it wait for ever. */
void proc_topic_close(struct proc_topics *topics, const char *name, size_t name_bytes);

#endif
