/* Turns from a template that writes whole conversations: a turn is the difference between
 * renderings with and without it, around a probe, a message that no template knows. */
#include <string.h>

#include "engine/chat/chat_impl.h"
#include "engine/chat/jinja.h"
#include "engine/chat/json.h"

/* Templates that ask for the date get this one, as pie 0.4 gives it to Llama: what is written must
 * not depend on the day. 2024-07-26, in seconds since 1970. */
#define TEMPLATE_NOW_S 1721952000
#define PROBE          "Zq7probe"

struct chat_template {
    struct jinja *jinja;
    const struct tok *tok;        /* borrowed */
    struct buf user_head;         /* of a later user turn: what stands in front of the message */
    struct buf user_tail, assistant_tail; /* what stands behind a message */
    struct chat_family family;    /* what the decoders need to know */
};

static enum err out_of_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "Out of memory while writing a turn");
}

/* ---- Conversations as JSON ----------------------------------------------------------------- */

struct conversation {
    struct buf json; /* the messages */
    struct buf tools;
    bool cue;
};

static void begin(struct conversation *c)
{
    *c = (struct conversation){.cue = false};
    buf_init(&c->json, NULL);
    buf_init(&c->tools, NULL);
}

static void finish(struct conversation *c)
{
    buf_deinit(&c->json);
    buf_deinit(&c->tools);
}

static void add(struct conversation *c, const char *role, const char *text, size_t bytes)
{
    (void)buf_printf(&c->json, "%s{\"role\":\"%s\",\"content\":", c->json.count ? "," : "", role);
    (void)buf_put_json(&c->json, text, bytes);
    (void)buf_putc(&c->json, '}');
}

static void add_probe(struct conversation *c, const char *role)
{
    add(c, role, PROBE, strlen(PROBE));
}

static void put_token(struct buf *json, const char *name, const struct tok *tok, uint32_t id)
{
    const char *text = "";
    size_t bytes = 0;
    if (id != TOK_NONE)
        (void)tok_token_bytes(tok, id, &text, &bytes);
    (void)buf_printf(json, ",\"%s\":", name);
    (void)buf_put_json(json, text, bytes);
}

static enum err render(const struct chat_template *template, const struct conversation *c,
                       struct buf *out, struct report *report)
{
    struct buf json;
    buf_init(&json, NULL);
    (void)buf_puts(&json, "{\"messages\":[");
    (void)buf_append(&json, c->json.data ? c->json.data : "", c->json.count);
    (void)buf_printf(&json, "],\"add_generation_prompt\":%s", c->cue ? "true" : "false");
    if (c->tools.count > 0) {
        (void)buf_puts(&json, ",\"tools\":[");
        (void)buf_append(&json, c->tools.data, c->tools.count);
        (void)buf_putc(&json, ']');
    }
    put_token(&json, "bos_token", template->tok, tok_bos(template->tok));
    put_token(&json, "eos_token", template->tok, tok_eos(template->tok));
    (void)buf_putc(&json, '}');
    enum err err = json.failed || c->json.failed || c->tools.failed ? out_of_memory(report) : ERR_OK;
    if (!err)
        err = jinja_render(template->jinja, json.data, json.count, TEMPLATE_NOW_S, out, report);
    buf_deinit(&json);
    return err;
}

static enum err odd(struct report *report, const char *what)
{
    return err_set(report, ERR_UNSUPPORTED, "The model's chat template does not write %s where "
                   "it can be told apart", what);
}

/* What stands behind the first (in front of the last) probe. */
static bool behind_probe(const struct buf *text, struct chat_string *part)
{
    size_t at = chat_find(text->data, text->count, 0, PROBE);
    if (at == SIZE_MAX)
        return false;
    at += strlen(PROBE);
    *part = (struct chat_string){text->data + at, text->count - at};
    return true;
}

static bool before_probe(const struct buf *text, struct chat_string *part)
{
    size_t at = SIZE_MAX, next = 0;
    while ((next = chat_find(text->data, text->count, next, PROBE)) != SIZE_MAX)
        at = next++;
    if (at == SIZE_MAX)
        return false;
    *part = (struct chat_string){text->data, at};
    return true;
}

static bool drop_front(struct chat_string *text, const struct buf *front)
{
    if (text->bytes < front->count ||
        (front->count && memcmp(text->data, front->data, front->count) != 0))
        return false;
    text->data += front->count;
    text->bytes -= front->count;
    return true;
}

static bool drop_back(struct chat_string *text, const struct buf *back)
{
    if (text->bytes < back->count ||
        (back->count && memcmp(text->data + text->bytes - back->count, back->data, back->count) != 0))
        return false;
    text->bytes -= back->count;
    return true;
}

/* ---- Turns --------------------------------------------------------------------------------- */

static enum err encode(const struct chat_template *template, struct chat_string text,
                       struct tok_ids *ids, struct report *report)
{
    if (text.bytes == 0)
        return ERR_OK;
    return tok_encode(template->tok, text.data, text.bytes, TOK_PARSE_SPECIALS, ids, report);
}

/* The ids of what a rendering has behind the probe, less `front`. */
static enum err encode_behind(const struct chat_template *template, const struct conversation *c,
                              const struct buf *front, const char *what, struct tok_ids *ids,
                              struct report *report)
{
    struct buf text;
    struct chat_string part = {"", 0};
    buf_init(&text, NULL);
    enum err err = render(template, c, &text, report);
    if (!err && (!behind_probe(&text, &part) || !drop_front(&part, front)))
        err = odd(report, what);
    if (!err)
        err = encode(template, part, ids, report);
    buf_deinit(&text);
    return err;
}

enum err template_user(const struct chat_template *template, const char *text, size_t bytes,
                       struct tok_ids *ids, struct report *report)
{
    struct conversation c;
    begin(&c);
    add(&c, "user", "u", 1);
    add_probe(&c, "assistant");
    add(&c, "user", text, bytes);
    enum err err = encode_behind(template, &c, &template->assistant_tail, "a user's turn", ids,
                                 report);
    finish(&c);
    return err;
}

enum err template_assistant(const struct chat_template *template, const char *text, size_t bytes,
                            struct tok_ids *ids, struct report *report)
{
    struct conversation c;
    begin(&c);
    add_probe(&c, "user");
    add(&c, "assistant", text, bytes);
    enum err err = encode_behind(template, &c, &template->user_tail, "the model's turn", ids, report);
    finish(&c);
    return err;
}

enum err template_cue(const struct chat_template *template, struct tok_ids *ids,
                      struct report *report)
{
    struct conversation c;
    begin(&c);
    add_probe(&c, "user");
    c.cue = true;
    enum err err = encode_behind(template, &c, &template->user_tail, "the beginning of an answer",
                                 ids, report);
    finish(&c);
    return err;
}

static enum err encode_whole(const struct chat_template *template, const struct conversation *c,
                             struct tok_ids *ids, struct report *report)
{
    struct buf text;
    buf_init(&text, NULL);
    enum err err = render(template, c, &text, report);
    if (!err)
        err = encode(template, (struct chat_string){text.data, text.count}, ids, report);
    buf_deinit(&text);
    return err;
}

enum err template_first(const struct chat_template *template, const struct chat_string *system,
                        const char *user, size_t bytes, struct tok_ids *ids, struct report *report)
{
    struct conversation c;
    begin(&c);
    if (system)
        add(&c, "system", system->data, system->bytes);
    add(&c, "user", user, bytes);
    enum err err = encode_whole(template, &c, ids, report);
    finish(&c);
    if (err != ERR_INVALID || !system)
        return err;
    /* No system turn in this template: its words stand in front of the user's. */
    struct buf both;
    struct report own = {0};
    buf_init(&both, NULL);
    begin(&c);
    (void)buf_append(&both, system->data, system->bytes);
    (void)buf_puts(&both, "\n\n");
    (void)buf_append(&both, user, bytes);
    add(&c, "user", both.data, both.count);
    if (both.failed || encode_whole(template, &c, ids, &own) == ERR_OK)
        err = both.failed ? out_of_memory(report) : ERR_OK;
    if (!err && report)
        *report = (struct report){0};
    finish(&c);
    buf_deinit(&both);
    return err;
}

/* What a rendering writes in front of a user's turn; `*apart` is false when it cannot be told from
 * that turn. */
static enum err encode_front(const struct chat_template *template, const struct conversation *c,
                             bool *apart, struct tok_ids *ids, struct report *report)
{
    struct buf text;
    struct chat_string part = {"", 0};
    buf_init(&text, NULL);
    enum err err = render(template, c, &text, report);
    *apart = !err && before_probe(&text, &part) && drop_back(&part, &template->user_head);
    if (*apart)
        err = encode(template, part, ids, report);
    buf_deinit(&text);
    return err;
}

enum err template_system(const struct chat_template *template, const char *text, size_t bytes,
                         struct tok_ids *ids, struct report *report)
{
    struct conversation c;
    struct report own = {0};
    struct buf bare;
    bool apart = false;
    begin(&c);
    add(&c, "system", text, bytes);
    add_probe(&c, "user");
    enum err err = encode_front(template, &c, &apart, ids, &own);
    finish(&c);
    if (apart || (err && err != ERR_INVALID))
        return err ? err_set(report, err, "%s", own.text) : ERR_OK;
    buf_init(&bare, NULL); /* no turn of its own: its words alone */
    if (buf_append(&bare, text, bytes) && buf_puts(&bare, "\n\n"))
        err = encode(template, (struct chat_string){bare.data, bare.count}, ids, report);
    else
        err = out_of_memory(report);
    buf_deinit(&bare);
    return err;
}

enum err template_equip(const struct chat_template *template, const struct chat_string *tools,
                        size_t tool_count, struct tok_ids *ids, struct report *report)
{
    struct conversation c;
    bool apart;
    begin(&c);
    add_probe(&c, "user");
    for (size_t i = 0; i < tool_count; i++) {
        struct chat_string value, function;
        if (!chat_json_parse(tools[i].data, tools[i].bytes, &value) || value.data[0] != '{') {
            finish(&c);
            return err_set(report, ERR_INVALID, "Tool %zu is not a JSON object", i + 1);
        }
        bool wrapped = chat_json_member(value, "function", &function);
        (void)buf_puts(&c.tools, i ? "," : "");
        (void)buf_puts(&c.tools, wrapped ? "" : "{\"type\":\"function\",\"function\":");
        (void)buf_append(&c.tools, value.data, value.bytes);
        (void)buf_puts(&c.tools, wrapped ? "" : "}");
    }
    enum err err = encode_front(template, &c, &apart, ids, report);
    finish(&c);
    return err;
}

enum err template_answer(const struct chat_template *template, struct chat_string name,
                         struct chat_string value, struct tok_ids *ids, struct report *report)
{
    struct conversation c;
    struct buf before, after;
    begin(&c);
    buf_init(&before, NULL);
    buf_init(&after, NULL);
    add(&c, "user", "u", 1);
    (void)buf_puts(&c.json, ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":"
                            "\"call00001\",\"type\":\"function\",\"function\":{\"name\":");
    (void)buf_put_json(&c.json, name.data, name.bytes);
    (void)buf_puts(&c.json, ",\"arguments\":{}}}]}");
    enum err err = render(template, &c, &before, report);
    (void)buf_puts(&c.json, ",{\"role\":\"tool\",\"tool_call_id\":\"call00001\",\"name\":");
    (void)buf_put_json(&c.json, name.data, name.bytes);
    (void)buf_puts(&c.json, ",\"content\":");
    (void)buf_put_json(&c.json, value.data, value.bytes);
    (void)buf_putc(&c.json, '}');
    if (!err)
        err = render(template, &c, &after, report);
    struct chat_string part = {after.data, after.count};
    if (!err && !drop_front(&part, &before))
        err = odd(report, "a tool's answer");
    if (!err)
        err = encode(template, part, ids, report);
    finish(&c);
    buf_deinit(&before);
    buf_deinit(&after);
    return err;
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* Finds out what stands around messages. */
static enum err explore(struct chat_template *template, struct report *report)
{
    struct conversation c;
    struct buf text;
    struct chat_string part = {"", 0};
    buf_init(&text, NULL);
    begin(&c);
    add_probe(&c, "user");
    enum err err = render(template, &c, &text, report);
    if (!err && !behind_probe(&text, &part))
        err = odd(report, "a user's message");
    if (!err && !buf_append(&template->user_tail, part.data, part.bytes))
        err = out_of_memory(report);
    finish(&c);
    begin(&c);
    buf_clear(&text);
    add(&c, "user", "u", 1);
    add_probe(&c, "assistant");
    if (!err)
        err = render(template, &c, &text, report);
    if (!err && !behind_probe(&text, &part))
        err = odd(report, "the model's answer");
    if (!err && !buf_append(&template->assistant_tail, part.data, part.bytes))
        err = out_of_memory(report);
    buf_clear(&text);
    add_probe(&c, "user");
    if (!err)
        err = render(template, &c, &text, report);
    /* [... PROBE tail] [head PROBE tail] */
    struct chat_string head = {0};
    if (!err && (!before_probe(&text, &head) ||
                 chat_find(text.data, text.count, 0, PROBE) == head.bytes))
        err = odd(report, "a user's turn");
    if (!err) {
        size_t first = chat_find(text.data, text.count, 0, PROBE) + strlen(PROBE);
        head = (struct chat_string){text.data + first, head.bytes - first};
        if (!drop_front(&head, &template->assistant_tail))
            err = odd(report, "a user's turn");
        else if (!buf_append(&template->user_head, head.data, head.bytes))
            err = out_of_memory(report);
    }
    finish(&c);
    buf_deinit(&text);
    return err;
}

enum err template_create(const char *source, size_t bytes, const struct tok *tok,
                         struct chat_template **out, struct report *report)
{
    struct chat_template *template = mem_calloc(NULL, 1, sizeof *template);
    if (!template)
        return out_of_memory(report);
    template->tok = tok;
    buf_init(&template->user_head, NULL);
    buf_init(&template->user_tail, NULL);
    buf_init(&template->assistant_tail, NULL);
    enum err err = jinja_create(source, bytes, &template->jinja, report);
    if (!err)
        err = explore(template, report);
    if (err) {
        template_destroy(template);
        return err;
    }
    template->family = (struct chat_family){.name = "template", .archs = ""};
    if (chat_find(source, bytes, 0, "</think>") != SIZE_MAX) {
        template->family.think_start = "<think>";
        template->family.think_end = "</think>";
    }
    if (chat_find(source, bytes, 0, "</tool_call>") != SIZE_MAX)
        template->family.tools = CHAT_TOOLS_XML;
    *out = template;
    return ERR_OK;
}

void template_destroy(struct chat_template *template)
{
    if (!template)
        return;
    jinja_destroy(template->jinja);
    buf_deinit(&template->user_head);
    buf_deinit(&template->user_tail);
    buf_deinit(&template->assistant_tail);
    mem_free(NULL, template);
}

const struct chat_family *template_family(const struct chat_template *template)
{
    return &template->family;
}

uint32_t template_stop(const struct chat_template *template)
{
    struct tok_ids ids = {0};
    struct report report = {0};
    uint32_t stop = TOK_NONE;
    if (encode(template, (struct chat_string){template->assistant_tail.data,
                                              template->assistant_tail.count}, &ids, &report))
        return TOK_NONE;
    for (size_t i = 0; i < ids.count && stop == TOK_NONE; i++)
        if (tok_is_special(template->tok, ids.items[i]))
            stop = ids.items[i];
    tok_ids_deinit(&ids);
    return stop;
}
