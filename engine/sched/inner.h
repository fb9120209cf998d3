/* Shared inside sched/ only. */
#ifndef ENGINE_SCHED_INNER_H
#define ENGINE_SCHED_INNER_H

#include "engine/base/arena.h"
#include "engine/base/vec.h"
#include "engine/sched/sched.h"

/* ---- lists: circular, through a member; a link that is in no list points to itself ---------- */

struct link {
    struct link *previous, *next;
};

static inline void link_init(struct link *link)
{
    link->previous = link->next = link;
}

static inline void link_remove(struct link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link_init(link);
}

/* To the end of `list`; takes it out of where it was. */
static inline void link_push(struct link *list, struct link *link)
{
    link_remove(link);
    link->previous = list->previous;
    link->next = list;
    list->previous->next = link;
    list->previous = link;
}

static inline void link_push_front(struct link *list, struct link *link)
{
    link_push(list->next, link);
}

static inline bool link_alone(const struct link *link)
{
    return link->next == link;
}

#define link_item(link, type, member) \
    ((type *)(void *)((char *)(link) - offsetof(type, member)))
/* The first item, NULL when the list is empty. */
#define link_first(list, type, member) \
    (link_alone(list) ? NULL : link_item((list)->next, type, member))

/* ---- heap.c: who stands highest or lowest ------------------------------------------------- */

struct standing {
    double bid;
    uint64_t owner;   /* serial: earlier is higher */
    uint64_t context; /* id: earlier is higher */
};

enum { HEAP_OUT = UINT32_MAX };

struct heap_item {
    struct standing standing;
    uint32_t at; /* in the heap, or HEAP_OUT */
};

struct heap {
    bool highest; /* what comes first */
    struct heap_item **items;
    size_t count, capacity;
};

bool sched_stands_above(const struct standing *a, const struct standing *b);
/* The caller has reserved room. */
void sched_heap_push(struct heap *heap, struct heap_item *item);
/* Nothing when it is not in. */
void sched_heap_remove(struct heap *heap, struct heap_item *item);

/* ---- the objects -------------------------------------------------------------------------- */

enum pass_state {
    PASS_QUEUED,  /* behind another pass of its context */
    PASS_WAITING, /* staged, waits for pages */
    PASS_READY,   /* has its pages; in a ready list */
    PASS_RUNNING, /* in the step in flight */
    PASS_COMPLETE,
};

struct sched_pass {
    struct sched_owner *owner;     /* NULL when it is gone */
    struct sched_context *context; /* NULL when complete */
    struct link of_owner, of_context;
    struct link listed; /* ready list, or done list */
    enum pass_state state;
    bool released, cancelled;
    bool small;
    bool begun;              /* some of its rows were in a step */
    uint64_t copy_step; /* serial of the step that begins with its page copy; 0 = none */

    uint64_t bytes;     /* charged to the owner */
    struct arena arena; /* of everything below */
    uint32_t *tokens, *positions; /* [rows]: tokens, then drafts */
    uint32_t rows, draft_count;
    struct kv_mask *masks; /* [mask_count] */
    uint32_t mask_count;
    int64_t adapter_id, adapter_seed;
    struct batch_brle logit_mask;
    struct batch_sampler *samplers; /* [sampler_count + (verified ? draft_count : 0)] */
    uint32_t sampler_count;
    bool verified; /* the last sampler draws behind the last token, so drafts are compared */
    struct batch_slot *slots; /* one per sampler */
    struct sched_output output;
    char why[240];

    sched_done_fn done;
    void *user;
};

struct sched_context {
    struct sched *sched;
    struct sched_owner *owner; /* NULL: destroyed, lives until its step has ended */
    struct kv_context *kv;
    struct link of_owner;
    struct link passes;  /* not complete, in order; the first one is staged */
    struct link idle;    /* in sched->idle while there is none */
    struct link settled; /* in sched->settled while the waiter is to be called */
    uint64_t queued_rows;
    uint64_t copied_tokens;  /* working tokens it began with */
    uint64_t idle_since; /* step */
    double bid;
    struct heap_item waiting, evictable;
    sched_settled_fn settled_fn;
    void *settled_user;
};

struct sched_owner {
    struct sched *sched;
    uint64_t serial;
    struct link of_sched, contexts, passes;
    uint32_t context_count;
    uint64_t copied_tokens;      /* sum over its contexts */
    uint64_t pass_bytes; /* of passes that are not released */
    bool limited;
    uint64_t tokens_left;
    double endowment, paid, dividend_base;
};

/* A pass in the step. */
struct step_entry {
    struct sched_pass *pass;
    uint32_t rows;
    uint32_t slot_begin; /* in step.slot_of */
};

struct step {
    struct { struct step_entry *items; size_t count, capacity; } entries;
    struct { uint32_t *items; size_t count, capacity; } tokens, positions, token_begin, pages,
        page_begin, kv_before, sampler_begin, copy_from, copy_to;
    struct { uint32_t *items; size_t count, capacity; } slot_of; /* of the pass, per sampler */
    struct { struct kv_mask *items; size_t count, capacity; } masks_kv;
    struct { struct batch_brle *items; size_t count, capacity; } masks, logit_masks;
    struct { struct batch_sampler *items; size_t count, capacity; } samplers;
    struct { int64_t *items; size_t count, capacity; } adapters;
    bool masked, logit_masked, adapted;
    uint64_t begin_ns;
    uint32_t replayed;
};

struct sched {
    struct backend *backend;
    struct kv_pool *pool;
    uint32_t tokens_max, requests_max, vocab_count, page_tokens, embedding_count;
    uint32_t samplers_max; /* of a step: their logits lie in memory together */
    bool check;

    struct link owners;
    uint64_t last_serial;
    uint32_t context_count; /* for the heaps' room */

    struct link ready_small, ready_large;
    struct sched_pass *first; /* did not fit into what was left of the last step; or NULL */
    struct heap waiting;      /* contexts whose first pass waits for pages; highest first */
    struct heap evictable;    /* contexts that may lose their pages; lowest first */
    struct link idle;         /* contexts without passes, longest idle first */
    struct link done;         /* complete passes whose callback is due */
    struct link settled;
    uint32_t pinned;          /* passes ready or running */
    size_t pending;           /* passes not complete */
    uint32_t stalled_turns;

    struct kv_copies copies; /* to be done at the beginning of the next step */
    struct step step;
    struct batch batch;
    struct batch_result result;
    bool in_flight;
    uint64_t step_serial; /* of the last step begun */

    struct sched_stats stats;
    double clearing, revenue_share, dividend_total, endowment_total, latency_s;
};

/* context.c */
struct standing sched_context_standing(const struct sched_context *context);
/* Files the context where its state belongs: evictable, idle. */
void sched_context_file(struct sched_context *context);
void sched_context_free(struct sched_context *context);

/* pass.c */
/* kv_prepare for the first pass of the context. */
enum err sched_pass_prepare(struct sched_pass *pass) ERR_MUST_USE;
/* The first pass of the context's queue, if any, is staged and looks for pages. */
void sched_pass_next(struct sched_context *context);
void sched_pass_ready(struct sched_pass *pass);
/* The first pass of its context ends; with an error, those behind it too. The kv pass is accepted
 * or abandoned already. */
void sched_pass_complete(struct sched_pass *pass, enum err err, const char *why);
/* Ends a pass that is not running, wherever it stands. */
void sched_pass_abort(struct sched_pass *pass, enum err err, const char *why);
/* Calls what is due; true when something was called. */
bool sched_deliver(struct sched *sched);

/* pages.c */
/* Gives pages to passes that wait. `force`: nothing else goes on, so take them from anyone. */
void sched_admit(struct sched *sched, bool force);

/* step.c */
/* Fills the step from the ready lists and hands it over; false when there is nothing. */
bool sched_step_begin(struct sched *sched);
void sched_step_end(struct sched *sched);
void sched_step_free(struct step *step);

/* market.c */
void sched_market_step(struct sched *sched, bool contended);

#endif
