/* Invariants:
 *   - a topic is in `by_name` exactly while it has a queued message, a pull or a subscription;
 *   - it never has queued messages and waiting pulls at once;
 *   - message_bytes is the sum of all live messages' bytes. */
#include "engine/process/topic.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/process/process.h"

struct proc_topic {
    struct proc_topics *topics;
    struct {
        struct proc_message **items;
        size_t count, capacity;
    } queue;
    size_t first; /* oldest in the queue */
    struct proc_pull *first_pull, *last_pull;
    struct proc_subscription *first_subscription, *last_subscription;
    size_t name_bytes;
    char name[];
};

void proc_topics_init(struct proc_topics *topics)
{
    *topics = (struct proc_topics){0};
    map_init(&topics->by_name, NULL);
}

/* ---- messages ----------------------------------------------------------------------------- */

static enum err create_message(struct proc_topics *topics, const void *data, size_t bytes,
                               struct proc_message **message, struct report *report)
{
    if (bytes > PROC_MESSAGE_BYTES_MAX - topics->message_bytes)
        return err_set(report, ERR_LIMIT,
                       "%zu bytes of messages that nobody has read are waiting; there is no room "
                       "for %zu more (at most %d in all)",
                       topics->message_bytes, bytes, PROC_MESSAGE_BYTES_MAX);
    struct proc_message *made = mem_alloc(NULL, sizeof *made + bytes);
    if (made == NULL)
        return err_set(report, ERR_MEMORY, "out of memory for a message");
    *made = (struct proc_message){.topics = topics, .refs = 1, .bytes = bytes};
    if (bytes != 0)
        memcpy(made->data, data, bytes);
    topics->message_bytes += bytes;
    *message = made;
    return ERR_OK;
}

void proc_message_unref(struct proc_message *message)
{
    CHECK(message->refs > 0);
    if (--message->refs != 0)
        return;
    message->topics->message_bytes -= message->bytes;
    mem_free(NULL, message);
}

/* ---- topics ------------------------------------------------------------------------------- */

static void destroy_topic(struct proc_topic *topic)
{
    for (size_t i = topic->first; i < topic->queue.count; i++)
        proc_message_unref(topic->queue.items[i]);
    vec_free(NULL, &topic->queue);
    mem_free(NULL, topic);
}

void proc_topics_deinit(struct proc_topics *topics)
{
    size_t at = 0, key_bytes;
    const void *key;
    void *value;
    while (map_next(&topics->by_name, &at, &key, &key_bytes, &value))
        destroy_topic(value);
    map_deinit(&topics->by_name);
    CHECK(topics->message_bytes == 0);
}

static void drop_if_idle(struct proc_topic *topic)
{
    if (topic->first < topic->queue.count || topic->first_pull != NULL ||
        topic->first_subscription != NULL)
        return;
    (void)map_take(&topic->topics->by_name, topic->name, topic->name_bytes);
    destroy_topic(topic);
}

/* The topic, made when it is not there; NULL when memory is out. */
static struct proc_topic *open_topic(struct proc_topics *topics, const char *name, size_t bytes)
{
    struct proc_topic *topic = map_find(&topics->by_name, name, bytes);
    if (topic != NULL)
        return topic;
    topic = mem_alloc(NULL, sizeof *topic + bytes);
    if (topic == NULL)
        return NULL;
    *topic = (struct proc_topic){.topics = topics, .name_bytes = bytes};
    if (bytes != 0)
        memcpy(topic->name, name, bytes);
    if (map_set(&topics->by_name, name, bytes, topic))
        return topic;
    mem_free(NULL, topic);
    return NULL;
}

static void unlink_pull(struct proc_pull *pull)
{
    struct proc_topic *topic = pull->topic;
    if (pull->previous != NULL)
        pull->previous->next = pull->next;
    else
        topic->first_pull = pull->next;
    if (pull->next != NULL)
        pull->next->previous = pull->previous;
    else
        topic->last_pull = pull->previous;
    pull->topic = NULL;
    pull->next = pull->previous = NULL;
}

/* Moves what is left of a queue to its front once most of it has been taken, so that a queue that
 * never runs empty does not grow. */
static void compact(struct proc_message **items, size_t *first, size_t *count)
{
    if (*first < 32 || *first < *count / 2)
        return;
    memmove(items, items + *first, (*count - *first) * sizeof *items);
    *count -= *first;
    *first = 0;
}

/* Takes the reference on success. Never fails when someone waits or, at the front, when a slot
 * before the oldest message is free. */
static bool deliver(struct proc_topic *topic, struct proc_message *message, bool front)
{
    struct proc_pull *pull = topic->first_pull;
    if (pull != NULL) {
        unlink_pull(pull);
        pull->message = message;
        proc_event_fire(&pull->event);
        drop_if_idle(topic);
        return true;
    }
    if (front && topic->first > 0) {
        topic->queue.items[--topic->first] = message;
        return true;
    }
    if (!front)
        compact(topic->queue.items, &topic->first, &topic->queue.count);
    if (!vec_push(NULL, &topic->queue, message))
        return false;
    if (front) {
        struct proc_message **items = topic->queue.items;
        memmove(items + 1, items, (topic->queue.count - 1) * sizeof *items);
        items[0] = message;
    }
    return true;
}

enum err proc_topic_push(struct proc_topics *topics, const char *name, size_t name_bytes,
                         const void *data, size_t bytes, struct report *report)
{
    struct proc_message *message;
    enum err err = create_message(topics, data, bytes, &message, report);
    if (err != ERR_OK)
        return err;
    struct proc_topic *topic = open_topic(topics, name, name_bytes);
    if (topic != NULL && deliver(topic, message, false))
        return ERR_OK;
    if (topic != NULL)
        drop_if_idle(topic);
    proc_message_unref(message);
    return err_set(report, ERR_MEMORY, "out of memory for a message");
}

/* ---- pulls -------------------------------------------------------------------------------- */

/* Where an unread message goes back to. The name is kept behind the struct. */
struct named_pull {
    struct proc_pull pull;
    size_t name_bytes;
    char name[];
};

static void destroy_pull(struct proc_event *event)
{
    struct named_pull *named = (struct named_pull *)event;
    struct proc_topics *topics = &event->proc->env->topics;
    struct proc_message *message = named->pull.message;
    if (message != NULL) {
        named->pull.message = NULL;
        struct proc_topic *topic =
            named->pull.seen ? NULL : open_topic(topics, named->name, named->name_bytes);
        if (topic == NULL || !deliver(topic, message, true)) {
            if (topic != NULL)
                drop_if_idle(topic);
            proc_message_unref(message);
        }
    }
    if (named->pull.topic != NULL) {
        struct proc_topic *topic = named->pull.topic;
        unlink_pull(&named->pull);
        drop_if_idle(topic);
    }
    mem_free(&event->proc->heap, named);
}

struct proc_pull *proc_topic_pull(struct proc_topics *topics, const char *name, size_t name_bytes,
                                  struct proc *proc)
{
    struct named_pull *named = mem_alloc(&proc->heap, sizeof *named + name_bytes);
    if (named == NULL)
        return NULL;
    *named = (struct named_pull){.name_bytes = name_bytes};
    if (name_bytes != 0)
        memcpy(named->name, name, name_bytes);
    struct proc_pull *pull = &named->pull;
    struct proc_topic *topic = open_topic(topics, name, name_bytes);
    if (topic == NULL) {
        mem_free(&proc->heap, named);
        return NULL;
    }
    proc_event_init(&pull->event, proc, destroy_pull);
    if (topic->first < topic->queue.count) {
        pull->message = topic->queue.items[topic->first++];
        pull->event.ready = true;
        if (topic->first == topic->queue.count)
            topic->first = topic->queue.count = 0;
        drop_if_idle(topic);
        return pull;
    }
    pull->topic = topic;
    pull->previous = topic->last_pull;
    if (topic->last_pull != NULL)
        topic->last_pull->next = pull;
    else
        topic->first_pull = pull;
    topic->last_pull = pull;
    return pull;
}

void proc_topic_close(struct proc_topics *topics, const char *name, size_t name_bytes)
{
    struct proc_topic *topic = map_find(&topics->by_name, name, name_bytes);
    if (topic == NULL)
        return;
    for (size_t i = topic->first; i < topic->queue.count; i++)
        proc_message_unref(topic->queue.items[i]);
    topic->first = topic->queue.count = 0;
    drop_if_idle(topic);
}

/* ---- subscriptions ------------------------------------------------------------------------ */

enum err proc_topic_broadcast(struct proc_topics *topics, const char *name, size_t name_bytes,
                              const void *data, size_t bytes, struct report *report)
{
    struct proc_topic *topic = map_find(&topics->by_name, name, name_bytes);
    if (topic == NULL || topic->first_subscription == NULL)
        return ERR_OK;
    struct proc_message *message;
    enum err err = create_message(topics, data, bytes, &message, report);
    if (err != ERR_OK)
        return err;
    for (struct proc_subscription *s = topic->first_subscription; s != NULL; s = s->next) {
        compact(s->queue.items, &s->first, &s->queue.count);
        if (!vec_push(&s->event.proc->heap, &s->queue, message)) {
            err = err_set(report, ERR_MEMORY, "out of memory for a broadcast");
            break;
        }
        message->refs++;
        proc_event_fire(&s->event);
    }
    proc_message_unref(message);
    return err;
}

void proc_subscription_end(struct proc_subscription *subscription)
{
    struct proc_topic *topic = subscription->topic;
    if (topic == NULL)
        return;
    if (subscription->previous != NULL)
        subscription->previous->next = subscription->next;
    else
        topic->first_subscription = subscription->next;
    if (subscription->next != NULL)
        subscription->next->previous = subscription->previous;
    else
        topic->last_subscription = subscription->previous;
    subscription->topic = NULL;
    subscription->next = subscription->previous = NULL;
    for (size_t i = subscription->first; i < subscription->queue.count; i++)
        proc_message_unref(subscription->queue.items[i]);
    subscription->first = subscription->queue.count = 0;
    subscription->event.ready = true; /* whoever polls it finds that nothing will come */
    drop_if_idle(topic);
}

static void destroy_subscription(struct proc_event *event)
{
    struct proc_subscription *subscription = (struct proc_subscription *)event;
    proc_subscription_end(subscription);
    vec_free(&event->proc->heap, &subscription->queue);
    mem_free(&event->proc->heap, subscription);
}

struct proc_subscription *proc_topic_subscribe(struct proc_topics *topics, const char *name,
                                               size_t name_bytes, struct proc *proc)
{
    struct proc_subscription *made = mem_calloc(&proc->heap, 1, sizeof *made);
    struct proc_topic *topic = made == NULL ? NULL : open_topic(topics, name, name_bytes);
    if (topic == NULL) {
        mem_free(&proc->heap, made);
        return NULL;
    }
    proc_event_init(&made->event, proc, destroy_subscription);
    made->topic = topic;
    made->previous = topic->last_subscription;
    if (topic->last_subscription != NULL)
        topic->last_subscription->next = made;
    else
        topic->first_subscription = made;
    topic->last_subscription = made;
    return made;
}

struct proc_message *proc_subscription_take(struct proc_subscription *subscription)
{
    if (subscription->first == subscription->queue.count)
        return NULL;
    struct proc_message *message = subscription->queue.items[subscription->first++];
    if (subscription->first == subscription->queue.count) {
        subscription->first = subscription->queue.count = 0;
        subscription->event.ready = false;
    }
    return message;
}
