/* links: engine/process */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/process/process.h"

/* Two processes that never run: topics need no more of them than a heap and an environment. */
struct world {
    struct proc_env env;
    struct proc procs[2];
};

static void open_world(struct world *world)
{
    *world = (struct world){0};
    proc_topics_init(&world->env.topics);
    for (size_t i = 0; i < 2; i++) {
        world->procs[i].env = &world->env;
        world->procs[i].state = PROC_WAITING;
    }
}

static void close_world(struct world *world)
{
    assert_int_equal(world->procs[0].heap.used_bytes, 0);
    assert_int_equal(world->procs[1].heap.used_bytes, 0);
    proc_topics_deinit(&world->env.topics);
}

static void push(struct world *world, const char *topic, const char *text)
{
    struct report report = {0};
    assert_int_equal(
        proc_topic_push(&world->env.topics, topic, strlen(topic), text, strlen(text), &report),
        ERR_OK);
}

static struct proc_pull *pull(struct world *world, size_t who, const char *topic)
{
    struct proc_pull *made =
        proc_topic_pull(&world->env.topics, topic, strlen(topic), &world->procs[who]);
    assert_non_null(made);
    return made;
}

static void check(const struct proc_pull *made, const char *text)
{
    if (text == NULL) {
        assert_null(made->message);
        assert_false(made->event.ready);
        return;
    }
    assert_non_null(made->message);
    assert_true(made->event.ready);
    assert_int_equal(made->message->bytes, strlen(text));
    assert_memory_equal(made->message->data, text, strlen(text));
}

static void first_in_first_out(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    push(&world, "t", "a");
    push(&world, "t", "b");
    push(&world, "other", "x");
    struct proc_pull *p[4];
    p[0] = pull(&world, 0, "t");
    p[1] = pull(&world, 1, "t");
    p[2] = pull(&world, 0, "t");
    p[3] = pull(&world, 1, "t");
    check(p[0], "a");
    check(p[1], "b");
    check(p[2], NULL);
    check(p[3], NULL);
    assert_int_equal(world.env.ready_count, 0);
    push(&world, "t", "c");
    check(p[2], "c");
    check(p[3], NULL);
    assert_ptr_equal(proc_take_ready(&world.env), &world.procs[0]);
    assert_null(proc_take_ready(&world.env));
    for (size_t i = 0; i < 4; i++) {
        p[i]->seen = true;
        proc_event_unref(&p[i]->event);
    }
    assert_int_equal(world.env.topics.message_bytes, 1); /* "x" */
    assert_int_equal(world.env.topics.by_name.count, 1);
    close_world(&world);
}

static void unread_messages_go_back(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    struct proc_pull *a = pull(&world, 0, "t"), *b = pull(&world, 0, "t");
    push(&world, "t", "1");
    push(&world, "t", "2");
    push(&world, "t", "3");
    check(a, "1");
    check(b, "2");
    struct proc_pull *c;
    proc_event_unref(&b->event);
    proc_event_unref(&a->event);
    static const char *const wanted[] = {"1", "2", "3"};
    for (size_t i = 0; i < 3; i++) {
        c = pull(&world, 1, "t");
        check(c, wanted[i]);
        c->seen = true;
        proc_event_unref(&c->event);
    }
    /* One that goes back finds a new waiter at once. */
    a = pull(&world, 0, "t");
    push(&world, "t", "4");
    b = pull(&world, 1, "t");
    proc_event_unref(&a->event);
    check(b, "4");
    proc_topic_close(&world.env.topics, "t", 1);
    proc_event_unref(&b->event); /* back into the queue */
    proc_topic_close(&world.env.topics, "t", 1);
    assert_int_equal(world.env.topics.by_name.count, 0);
    assert_int_equal(world.env.topics.message_bytes, 0);
    close_world(&world);
}

static void a_dead_waiter_takes_nothing(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    struct proc_pull *a = pull(&world, 0, "t"), *b = pull(&world, 1, "t");
    proc_event_unref(&a->event);
    push(&world, "t", "x");
    check(b, "x");
    b->seen = true;
    proc_event_unref(&b->event);
    assert_int_equal(world.env.topics.by_name.count, 0);
    close_world(&world);
}

static void queues_do_not_grow_by_use(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    char text[16];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        push(&world, "t", text);
    }
    size_t before = mem_used_bytes();
    for (int i = 100; i < 20000; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        push(&world, "t", text);
        struct proc_pull *p = pull(&world, 0, "t");
        (void)snprintf(text, sizeof text, "%d", i - 100);
        check(p, text);
        p->seen = true;
        proc_event_unref(&p->event);
    }
    assert_in_range(mem_used_bytes(), 0, before + 4096);
    proc_topic_close(&world.env.topics, "t", 1);
    close_world(&world);
}

static void broadcasts_reach_all(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    struct report report = {0};
    struct proc_topics *topics = &world.env.topics;
    assert_int_equal(proc_topic_broadcast(topics, "t", 1, "lost", 4, &report), ERR_OK);
    struct proc_subscription *a = proc_topic_subscribe(topics, "t", 1, &world.procs[0]);
    struct proc_subscription *b = proc_topic_subscribe(topics, "t", 1, &world.procs[1]);
    for (int i = 0; i < 200; i++) {
        char text[8];
        (void)snprintf(text, sizeof text, "%d", i);
        assert_int_equal(proc_topic_broadcast(topics, "t", 1, text, strlen(text), &report), ERR_OK);
    }
    assert_true(a->event.ready && b->event.ready);
    for (int i = 0; i < 200; i++) {
        char text[8];
        (void)snprintf(text, sizeof text, "%d", i);
        struct proc_message *message = proc_subscription_take(a);
        assert_int_equal(message->bytes, strlen(text));
        assert_memory_equal(message->data, text, message->bytes);
        proc_message_unref(message);
    }
    assert_false(a->event.ready);
    assert_null(proc_subscription_take(a));
    proc_subscription_end(b);
    proc_subscription_end(b);
    assert_true(b->event.ready); /* whoever polls it must not wait for ever */
    assert_null(proc_subscription_take(b));
    assert_int_equal(topics->message_bytes, 0);
    proc_event_unref(&b->event);
    proc_event_unref(&a->event);
    assert_int_equal(topics->by_name.count, 0);
    close_world(&world);
}

static void messages_have_a_bound(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    struct report report = {0};
    enum { BIG = 64 << 20 };
    char *big = mem_alloc(NULL, BIG);
    memset(big, 'x', BIG);
    for (int i = 0; i < 4; i++)
        assert_int_equal(proc_topic_push(&world.env.topics, "t", 1, big, BIG, &report), ERR_OK);
    assert_int_equal(proc_topic_push(&world.env.topics, "t", 1, "y", 1, &report), ERR_LIMIT);
    assert_non_null(strstr(report.text, "that nobody has read are waiting"));
    mem_free(NULL, big);
    proc_topic_close(&world.env.topics, "t", 1);
    push(&world, "t", "y");
    proc_topic_close(&world.env.topics, "t", 1);
    close_world(&world);
}

static void lack_of_memory_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 12; nth++) {
        struct world world;
        open_world(&world);
        struct report report = {0};
        struct proc_topics *topics = &world.env.topics;
        (void)mem_fail_at(nth);
        struct proc_pull *p = proc_topic_pull(topics, "t", 1, &world.procs[0]);
        struct proc_subscription *s = proc_topic_subscribe(topics, "t", 1, &world.procs[0]);
        enum err pushed = proc_topic_push(topics, "t", 1, "a", 1, &report);
        enum err again = proc_topic_push(topics, "t", 1, "b", 1, &report);
        enum err told = proc_topic_broadcast(topics, "t", 1, "c", 1, &report);
        (void)mem_fail_at(0);
        if (p != NULL)
            proc_event_unref(&p->event);
        if (s != NULL)
            proc_event_unref(&s->event);
        size_t left = 0;
        while (topics->message_bytes > 0) {
            p = pull(&world, 1, "t");
            assert_non_null(p->message);
            p->seen = true;
            proc_event_unref(&p->event);
            left++;
        }
        /* A push that said ERR_OK is there, unless putting it back needed memory. */
        assert_int_equal(left, (pushed == ERR_OK) + (again == ERR_OK));
        assert_true(told == ERR_OK || told == ERR_MEMORY);
        assert_int_equal(topics->by_name.count, 0);
        close_world(&world);
    }
}

static void seeds_are_reproducible_and_differ(void **state)
{
    (void)state;
    struct proc a = {.seed = 42}, b = {.seed = 42}, c = {.seed = 43};
    uint64_t seen[300];
    for (size_t i = 0; i < 100; i++) {
        seen[3 * i] = proc_draw_seed(&a);
        seen[3 * i + 1] = proc_draw_seed(&c);
        seen[3 * i + 2] = proc_child_seed(&a);
        assert_int_equal(proc_draw_seed(&b), seen[3 * i]);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(seen[i] != seen[j]);
}

static void ids_are_version_4(void **state)
{
    (void)state;
    char a[PROC_ID_TEXT_BYTES], b[PROC_ID_TEXT_BYTES];
    proc_make_id(a);
    proc_make_id(b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 36);
    assert_int_equal(strspn(a, "0123456789abcdef-"), 36);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_true(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(unread_messages_go_back),
        cmocka_unit_test(a_dead_waiter_takes_nothing),
        cmocka_unit_test(queues_do_not_grow_by_use),
        cmocka_unit_test(broadcasts_reach_all),
        cmocka_unit_test(messages_have_a_bound),
        cmocka_unit_test(lack_of_memory_loses_nothing),
        cmocka_unit_test(seeds_are_reproducible_and_differ),
        cmocka_unit_test(ids_are_version_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
