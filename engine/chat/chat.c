/* Picking a family and writing its turns. */
#include "engine/chat/chat.h"

#include <string.h>

#include "engine/chat/chat_impl.h"

/* Real Llama 2 vocabularies; small SentencePiece models without a template are base models. */
#define LLAMA2_VOCAB_COUNT 32000

static bool has_token(const struct tok *tok, const char *text)
{
    return tok_find(tok, text, strlen(text)) != TOK_NONE;
}

static bool has_marks(const struct chat_family *family, const struct tok *tok)
{
    for (size_t i = 0; i < 3 && family->marks[i]; i++)
        if (!has_token(tok, family->marks[i]))
            return false;
    return true;
}

static char normal(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c + 32);
    return c == '-' || c == '.' ? '_' : c;
}

/* Whether the normalised `arch` is one of the words of `list`. */
static bool in_list(const char *list, const char *arch)
{
    size_t bytes = strlen(arch);
    for (const char *at = list; *at;) {
        const char *end = strchr(at, ' ');
        size_t word = end ? (size_t)(end - at) : strlen(at);
        size_t i = 0;
        while (word == bytes && i < bytes && normal(arch[i]) == at[i])
            i++;
        if (word == bytes && i == bytes)
            return true;
        at += word + (end ? 1 : 0);
    }
    return false;
}

/* Families that a vocabulary alone gives away, the most telling first; and those whose tokens many
 * models have that write more than them. */
static const char *const by_vocabulary[] = {
    "llama3", "kimi", "gptoss", "gemma4", "gemma3", "deepseek", "mistral3",
};
static const char *const by_habit[] = {"chatml", "phi3"};

static const struct chat_family *find_family(const char *name)
{
    for (size_t i = 0; i < chat_family_count; i++)
        if (strcmp(chat_families[i].name, name) == 0)
            return &chat_families[i];
    return &chat_family_plain;
}

static const struct chat_family *pick_sure(const char *arch, const struct tok *tok)
{
    if (arch) {
        for (size_t i = 0; i < chat_family_count; i++)
            if (in_list(chat_families[i].archs, arch) && has_marks(&chat_families[i], tok))
                return &chat_families[i];
        if (in_list(chat_family_llama2.archs, arch))
            return &chat_family_llama2;
    }
    for (size_t i = 0; i < sizeof by_vocabulary / sizeof *by_vocabulary; i++) {
        const struct chat_family *family = find_family(by_vocabulary[i]);
        if (has_marks(family, tok))
            return family;
    }
    return NULL;
}

static const struct chat_family *pick_likely(const char *template_text, size_t template_bytes,
                                             const struct tok *tok)
{
    for (size_t i = 0; i < sizeof by_habit / sizeof *by_habit; i++) {
        const struct chat_family *family = find_family(by_habit[i]);
        if (has_marks(family, tok))
            return family;
    }
    if (template_text) {
        if (chat_find(template_text, template_bytes, 0, "<|im_start|>") != SIZE_MAX)
            return find_family("chatml");
        if (chat_find(template_text, template_bytes, 0, "[INST]") != SIZE_MAX)
            return &chat_family_llama2;
    }
    if (!template_text && tok_is_sentencepiece(tok) && tok_vocab_count(tok) >= LLAMA2_VOCAB_COUNT)
        return &chat_family_llama2;
    return &chat_family_plain;
}

/* Whether the chat's family and its template write the same conversation. */
static bool writes_the_same(struct chat *chat, struct chat_template *template)
{
    static const struct chat_string system = {"s", 1};
    struct tok_ids ids[2] = {{0}, {0}};
    struct report report = {0};
    bool ok = true;
    for (unsigned i = 0; i < 2 && ok; i++) {
        chat->template = i ? template : NULL;
        ok = chat_system_user(chat, system.data, 1, "u", 1, &ids[i], &report) == ERR_OK &&
             chat_assistant(chat, "a", 1, &ids[i], &report) == ERR_OK &&
             chat_user(chat, "v", 1, &ids[i], &report) == ERR_OK &&
             chat_cue(chat, &ids[i], &report) == ERR_OK;
    }
    chat->template = NULL;
    ok = ok && ids[0].count == ids[1].count &&
         memcmp(ids[0].items, ids[1].items, ids[0].count * sizeof *ids[0].items) == 0;
    tok_ids_deinit(&ids[0]);
    tok_ids_deinit(&ids[1]);
    return ok;
}

/* Sets the family, and the template where turns are to be written by it. */
static void pick(struct chat *chat, const char *arch, const char *template_text,
                 size_t template_bytes)
{
    struct chat_template *template = NULL;
    struct report ignored = {0}; /* a template that cannot be used is as none */
    chat->family = pick_sure(arch, chat->tok);
    if (chat->family)
        return;
    chat->family = pick_likely(template_text, template_bytes, chat->tok);
    if (!template_text ||
        template_create(template_text, template_bytes, chat->tok, &template, &ignored) != ERR_OK)
        return;
    if (writes_the_same(chat, template)) {
        template_destroy(template);
        return;
    }
    chat->template = template;
    chat->family = template_family(template);
}

static bool push_stop(struct chat *chat, uint32_t id)
{
    return id == TOK_NONE || chat_is_stop(chat, id) || tok_ids_push(&chat->stops, id);
}

enum err chat_create(const char *arch, const char *template_text, size_t template_bytes,
                     const struct tok *tok, struct chat **out, struct report *report)
{
    struct chat *chat = mem_calloc(NULL, 1, sizeof *chat);
    if (!chat)
        return err_set(report, ERR_MEMORY, "Out of memory while preparing the chat format");
    chat->tok = tok;
    pick(chat, arch, template_text, template_bytes);
    bool ok = true;
    for (size_t i = 0; i < 4 && chat->family->stops[i] && ok; i++)
        ok = push_stop(chat, tok_find(tok, chat->family->stops[i], strlen(chat->family->stops[i])));
    if (ok && chat->template)
        ok = push_stop(chat, template_stop(chat->template));
    if (ok && (chat->stops.count == 0 || chat->template))
        ok = push_stop(chat, tok_eos(tok)) && push_stop(chat, tok_eot(tok));
    if (!ok) {
        chat_destroy(chat);
        return err_set(report, ERR_MEMORY, "Out of memory while preparing the chat format");
    }
    *out = chat;
    return ERR_OK;
}

void chat_destroy(struct chat *chat)
{
    if (!chat)
        return;
    tok_ids_deinit(&chat->stops);
    template_destroy(chat->template);
    mem_free(NULL, chat);
}

const char *chat_family(const struct chat *chat)
{
    return chat->family->name;
}

const uint32_t *chat_stop_tokens(const struct chat *chat, size_t *count)
{
    *count = chat->stops.count;
    return chat->stops.items;
}

bool chat_is_stop(const struct chat *chat, uint32_t id)
{
    for (size_t i = 0; i < chat->stops.count; i++)
        if (chat->stops.items[i] == id)
            return true;
    return false;
}

/* ---- the writer ---- */

void chat_writer_begin(struct chat_writer *writer, const struct chat *chat, struct tok_ids *ids,
                       struct report *report)
{
    *writer =
        (struct chat_writer){.chat = chat, .ids = ids, .report = report, .before = ids->count};
    buf_init(&writer->joined, NULL);
}

static void encode(struct chat_writer *writer, const char *text, size_t bytes)
{
    writer->err =
        tok_encode(writer->chat->tok, text, bytes, TOK_PARSE_SPECIALS, writer->ids, writer->report);
}

void chat_writer_text(struct chat_writer *writer, const char *text, size_t bytes)
{
    if (writer->err != ERR_OK || bytes == 0)
        return;
    if (!tok_is_sentencepiece(writer->chat->tok))
        encode(writer, text, bytes);
    else if (!buf_append(&writer->joined, text, bytes))
        writer->err = err_set(writer->report, ERR_MEMORY, "Out of memory while writing a turn");
}

void chat_writer_put(struct chat_writer *writer, const char *parts)
{
    while (parts && *parts) {
        const char *cut = strchr(parts, CHAT_CUT);
        size_t bytes = cut ? (size_t)(cut - parts) : strlen(parts);
        chat_writer_text(writer, parts, bytes);
        parts += bytes + (cut ? 1 : 0);
    }
}

enum err chat_writer_end(struct chat_writer *writer)
{
    if (writer->err == ERR_OK && writer->joined.count > 0)
        encode(writer, writer->joined.data, writer->joined.count);
    buf_deinit(&writer->joined);
    if (writer->err != ERR_OK)
        writer->ids->count = writer->before;
    return writer->err;
}

struct chat_string chat_trim(const char *text, size_t bytes)
{
    while (bytes > 0 && (*text == ' ' || (*text >= '\t' && *text <= '\r'))) {
        text++;
        bytes--;
    }
    while (bytes > 0 &&
           (text[bytes - 1] == ' ' || (text[bytes - 1] >= '\t' && text[bytes - 1] <= '\r')))
        bytes--;
    return (struct chat_string){text, bytes};
}

size_t chat_find(const char *text, size_t bytes, size_t from, const char *needle)
{
    size_t length = strlen(needle);
    for (size_t at = from; length <= bytes && at <= bytes - length; at++) {
        const char *next = memchr(text + at, needle[0], bytes - length - at + 1);
        if (!next)
            break;
        at = (size_t)(next - text);
        if (memcmp(next, needle, length) == 0)
            return at;
    }
    return SIZE_MAX;
}

/* ---- turns ---- */

static void put_message(struct chat_writer *writer, const char *text, size_t bytes)
{
    struct chat_string message = {text, bytes};
    if (writer->chat->family->trims)
        message = chat_trim(text, bytes);
    chat_writer_text(writer, message.data, message.bytes);
}

static void put_turn(struct chat_writer *writer, const struct chat_turn *turn, const char *text,
                     size_t bytes)
{
    chat_writer_put(writer, turn->before);
    put_message(writer, text, bytes);
    chat_writer_put(writer, turn->after);
}

/* Gemma 3's system text is not trimmed, Gemma 4's is. */
static void put_system(struct chat_writer *writer, const char *text, size_t bytes)
{
    const struct chat_turn *turn = &writer->chat->family->system;
    if (writer->chat->family->system_in_user) {
        chat_writer_text(writer, text, bytes);
        chat_writer_put(writer, turn->after);
    } else {
        put_turn(writer, turn, text, bytes);
    }
}

enum err chat_system(const struct chat *chat, const char *text, size_t bytes, struct tok_ids *ids,
                     struct report *report)
{
    if (chat->template)
        return template_system(chat->template, text, bytes, ids, report);
    struct chat_writer writer;
    chat_writer_begin(&writer, chat, ids, report);
    put_system(&writer, text, bytes);
    return chat_writer_end(&writer);
}

enum err chat_user(const struct chat *chat, const char *text, size_t bytes, struct tok_ids *ids,
                   struct report *report)
{
    if (chat->template)
        return template_user(chat->template, text, bytes, ids, report);
    struct chat_writer writer;
    chat_writer_begin(&writer, chat, ids, report);
    put_turn(&writer, &chat->family->user, text, bytes);
    return chat_writer_end(&writer);
}

enum err chat_first_user(const struct chat *chat, const char *text, size_t bytes,
                         struct tok_ids *ids, struct report *report)
{
    if (chat->template)
        return template_first(chat->template, NULL, text, bytes, ids, report);
    struct chat_writer writer;
    chat_writer_begin(&writer, chat, ids, report);
    chat_writer_put(&writer, chat->family->first);
    put_turn(&writer, &chat->family->user, text, bytes);
    return chat_writer_end(&writer);
}

enum err chat_system_user(const struct chat *chat, const char *system, size_t system_bytes,
                          const char *user, size_t user_bytes, struct tok_ids *ids,
                          struct report *report)
{
    const struct chat_string first = {system, system_bytes};
    if (chat->template)
        return template_first(chat->template, &first, user, user_bytes, ids, report);
    const struct chat_family *family = chat->family;
    struct chat_writer writer;
    chat_writer_begin(&writer, chat, ids, report);
    if (family->system_in_user) {
        chat_writer_put(&writer, family->first);
        chat_writer_put(&writer, family->user.before);
        put_system(&writer, system, system_bytes);
        put_message(&writer, user, user_bytes);
        chat_writer_put(&writer, family->user.after);
    } else {
        put_system(&writer, system, system_bytes);
        put_turn(&writer, &family->user, user, user_bytes);
    }
    return chat_writer_end(&writer);
}

enum err chat_assistant(const struct chat *chat, const char *text, size_t bytes,
                        struct tok_ids *ids, struct report *report)
{
    if (chat->template)
        return template_assistant(chat->template, text, bytes, ids, report);
    const struct chat_family *family = chat->family;
    struct chat_writer writer;
    chat_writer_begin(&writer, chat, ids, report);
    if (family->replays_answer) {
        size_t at;
        while ((at = chat_find(text, bytes, 0, family->think_end)) != SIZE_MAX) {
            at += strlen(family->think_end);
            text += at;
            bytes -= at;
            while (family->replay_trims_newlines && bytes > 0 && *text == '\n') {
                text++;
                bytes--;
            }
        }
    }
    chat_writer_put(&writer, family->assistant.before);
    if (family->replay_without_thought && chat_find(text, bytes, 0, "<think>") == SIZE_MAX) {
        /* one part together with the message */
        struct buf body;
        buf_init(&body, NULL);
        if (buf_puts(&body, family->replay_without_thought) && buf_append(&body, text, bytes))
            chat_writer_text(&writer, body.data, body.count);
        else
            writer.err = err_set(report, ERR_MEMORY, "Out of memory while writing a turn");
        buf_deinit(&body);
    } else {
        put_message(&writer, text, bytes);
    }
    chat_writer_put(&writer, family->assistant.after);
    return chat_writer_end(&writer);
}

enum err chat_cue(const struct chat *chat, struct tok_ids *ids, struct report *report)
{
    if (chat->template)
        return template_cue(chat->template, ids, report);
    struct chat_writer writer;
    chat_writer_begin(&writer, chat, ids, report);
    chat_writer_put(&writer, chat->family->cue);
    return chat_writer_end(&writer);
}

enum err chat_seal(const struct chat *chat, struct tok_ids *ids, struct report *report)
{
    size_t before = ids->count;
    for (size_t i = 0; i < chat->stops.count; i++) {
        if (!tok_ids_push(ids, chat->stops.items[i])) {
            ids->count = before;
            return err_set(report, ERR_MEMORY, "Out of memory while writing a turn");
        }
    }
    return ERR_OK;
}
