/* Tools: how a family is told of them, how it calls them, how it hears their results. */
#include <string.h>

#include "engine/chat/chat_impl.h"
#include "engine/chat/json.h"

/* A call that has not ended after this much text is none. */
#define CALL_BYTES_MAX ((size_t)256 << 10)

static enum err out_of_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "Out of memory while writing about tools");
}

bool chat_has_tools(const struct chat *chat)
{
    return chat->family->tools != CHAT_TOOLS_NONE;
}

/* ---- telling the model ---- */

/* The object that describes the function, and its name; ERR_INVALID when `tool` is no tool. */
static enum err read_tool(struct chat_string tool, size_t index, struct chat_string *function,
                          struct buf *name, struct report *report)
{
    struct chat_string value, inner, text;
    bool json = chat_json_parse(tool.data, tool.bytes, &value);
    if (json && chat_json_member(value, "function", &inner))
        value = inner;
    if (!json || !chat_json_member(value, "name", &text) || text.data[0] != '"')
        return err_set(report, ERR_INVALID,
                       "Tool %zu must be a JSON object with a \"name\", or one with such an object "
                       "as its \"function\"",
                       index);
    *function = value;
    if (name && !chat_json_string(text, name))
        return out_of_memory(report);
    return ERR_OK;
}

/* Appends the string member `key`, or nothing. */
static void put_member(struct chat_string object, const char *key, struct buf *out)
{
    struct chat_string value;
    if (chat_json_member(object, key, &value))
        (void)chat_json_string(value, out);
}

static bool is_string(struct chat_string value, const char *text)
{
    struct buf plain;
    buf_init(&plain, NULL);
    bool same = chat_json_string(value, &plain) && strcmp(plain.data, text) == 0;
    buf_deinit(&plain);
    return same;
}

static bool is_required(struct chat_string schema, struct chat_string key)
{
    struct chat_string list, none, element;
    size_t at = 0;
    if (!chat_json_member(schema, "required", &list))
        return false;
    while (chat_json_next(list, &at, &none, &element))
        if (element.bytes == key.bytes && memcmp(element.data, key.data, key.bytes) == 0)
            return true;
    return false;
}

/* GPT-OSS reads types as TypeScript. Depth is that of the JSON, which is bounded. */
static void put_type(struct chat_string schema, struct buf *out)
{
    struct chat_string type, list, none, element, key;
    size_t at = 0;
    bool first = true;
    if (!chat_json_member(schema, "type", &type)) {
        if (!chat_json_member(schema, "oneOf", &list)) {
            (void)buf_puts(out, "any");
            return;
        }
        for (; chat_json_next(list, &at, &none, &element); first = false) {
            (void)buf_puts(out, first ? "" : " | ");
            put_type(element, out);
        }
    } else if (is_string(type, "string")) {
        if (chat_json_member(schema, "enum", &list)) {
            for (; chat_json_next(list, &at, &none, &element); first = false) {
                (void)buf_puts(out, first ? "\"" : " | \"");
                (void)chat_json_string(element, out);
                (void)buf_putc(out, '"');
            }
        } else {
            (void)buf_puts(out, "string");
            if (chat_json_member(schema, "nullable", &element) && element.data[0] == 't')
                (void)buf_puts(out, " | null");
        }
    } else if (is_string(type, "number") || is_string(type, "integer")) {
        (void)buf_puts(out, "number");
    } else if (is_string(type, "boolean")) {
        (void)buf_puts(out, "boolean");
    } else if (is_string(type, "array")) {
        if (chat_json_member(schema, "items", &element))
            put_type(element, out);
        else
            (void)buf_puts(out, "any");
        (void)buf_puts(out, "[]");
    } else if (is_string(type, "object")) {
        if (!chat_json_member(schema, "properties", &list)) {
            (void)buf_puts(out, "object");
            return;
        }
        (void)buf_puts(out, "{\n");
        for (; chat_json_next(list, &at, &key, &element); first = false) {
            (void)buf_puts(out, first ? "" : ",\n");
            (void)chat_json_string(key, out);
            (void)buf_puts(out, is_required(schema, key) ? ": " : "?: ");
            put_type(element, out);
        }
        (void)buf_puts(out, "\n}");
    } else {
        (void)buf_puts(out, "any");
    }
}

static void put_typescript(struct chat_string function, struct buf *out)
{
    struct chat_string parameters, properties, key, schema;
    size_t at = 0;
    (void)buf_puts(out, "// ");
    put_member(function, "description", out);
    (void)buf_puts(out, "\ntype ");
    put_member(function, "name", out);
    (void)buf_puts(out, " = ");
    if (!chat_json_member(function, "parameters", &parameters) ||
        !chat_json_member(parameters, "properties", &properties) || properties.data[0] != '{') {
        (void)buf_puts(out, "() => any;\n\n");
        return;
    }
    (void)buf_puts(out, "(_: {\n");
    while (chat_json_next(properties, &at, &key, &schema)) {
        struct chat_string description;
        if (chat_json_member(schema, "description", &description) && description.data[0] == '"') {
            (void)buf_puts(out, "// ");
            (void)chat_json_string(description, out);
            (void)buf_putc(out, '\n');
        }
        (void)chat_json_string(key, out);
        (void)buf_puts(out, is_required(parameters, key) ? ": " : "?: ");
        put_type(schema, out);
        (void)buf_puts(out, ",\n");
    }
    (void)buf_puts(out, "}) => any;\n\n");
}

/* What stands before, around and after the list of tools. */
struct announcement {
    const char *head, *before, *between, *after, *tail;
};

static const struct announcement announcements[] = {
    [CHAT_TOOLS_XML] =
        {" # Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
         "You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
         "\n", "", "",
         "\n</tools>\n\nFor each function call, return a json object with function name and "
         "arguments "
         "within <tool_call></tool_call> XML tags:\n<tool_call>\n"
         "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>"},
    [CHAT_TOOLS_LLAMA3] =
        {"Environment: ipython\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
         "You have access to the following functions. To call a function, please respond with JSON "
         "for a function call.Respond in the format {\"name\": function name, \"parameters\": "
         "dictionary of argument name and its value}.Do not use variables.\n\n",
         "", "", "\n\n", ""},
    [CHAT_TOOLS_MISTRAL] = {"[", "", ",", "", "]"},
    [CHAT_TOOLS_DEEPSEEK] =
        {"You are a helpful assistant with tool calling capabilities. When a tool call is needed, "
         "you MUST use the following format to issue the call:\n"
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>FUNCTION_NAME\n```json\n"
         "{\"param1\": \"value1\", \"param2\": \"value2\"}\n```<｜tool▁call▁end｜>"
         "<｜tool▁calls▁end｜>\n\nMake sure the JSON is valid.## Tools\n\n### Function\n\n"
         "You have the following functions available:\n\n",
         "\n```json\n", "", "\n```\n", ""},
    [CHAT_TOOLS_OLMO3] =
        {"You are OLMo, a helpful function-calling AI assistant built by Ai2. Your date cutoff is "
         "November 2024. <functions>",
         "", "\n", "", "</functions>"},
    [CHAT_TOOLS_GPTOSS] = {" # Tools\n\n ## functions\n\nnamespace functions {\n\n", "", "", "",
                           "} // namespace functions"},
};

static enum err announce(const struct chat *chat, const struct chat_string *tools,
                         size_t tool_count, struct buf *text, struct report *report)
{
    const struct announcement *form = &announcements[chat->family->tools];
    (void)buf_puts(text, form->head);
    for (size_t i = 0; i < tool_count; i++) {
        struct chat_string function;
        enum err err = read_tool(tools[i], i, &function, NULL, report);
        if (err != ERR_OK)
            return err;
        (void)buf_puts(text, i > 0 ? form->between : "");
        (void)buf_puts(text, form->before);
        if (chat->family->tools == CHAT_TOOLS_GPTOSS)
            put_typescript(function, text);
        else
            (void)buf_append(text, tools[i].data, tools[i].bytes);
        (void)buf_puts(text, form->after);
    }
    (void)buf_puts(text, form->tail);
    return text->failed ? out_of_memory(report) : ERR_OK;
}

enum err chat_equip(const struct chat *chat, const struct chat_string *tools, size_t tool_count,
                    struct tok_ids *ids, struct report *report)
{
    struct buf text;
    struct chat_writer writer;
    if (chat->template && tool_count > 0)
        return template_equip(chat->template, tools, tool_count, ids, report);
    if (!chat_has_tools(chat) || tool_count == 0)
        return ERR_OK;
    buf_init(&text, NULL);
    enum err err = announce(chat, tools, tool_count, &text, report);
    if (err == ERR_OK && chat->family->tools == CHAT_TOOLS_MISTRAL) {
        chat_writer_begin(&writer, chat, ids, report);
        chat_writer_put(&writer, "[AVAILABLE_TOOLS]");
        chat_writer_text(&writer, text.data, text.count);
        chat_writer_put(&writer, "[/AVAILABLE_TOOLS]");
        err = chat_writer_end(&writer);
    } else if (err == ERR_OK) {
        err = chat_system(chat, text.data, text.count, ids, report);
    }
    buf_deinit(&text);
    return err;
}

enum err chat_answer(const struct chat *chat, const char *name, size_t name_bytes,
                     const char *value, size_t value_bytes, struct tok_ids *ids,
                     struct report *report)
{
    struct chat_writer writer;
    if (chat->template)
        return template_answer(chat->template, (struct chat_string){name, name_bytes},
                               (struct chat_string){value, value_bytes}, ids, report);
    if (!chat_has_tools(chat))
        return ERR_OK;
    chat_writer_begin(&writer, chat, ids, report);
    if (chat->family->tools == CHAT_TOOLS_GPTOSS) {
        struct buf head, json;
        buf_init(&head, NULL);
        buf_init(&json, NULL);
        if (buf_puts(&head, "<|start|>functions.") && buf_append(&head, name, name_bytes) &&
            buf_puts(&head, " to=assistant<|channel|>commentary<|message|>") &&
            buf_put_json(&json, value, value_bytes)) {
            chat_writer_text(&writer, head.data, head.count);
            chat_writer_text(&writer, json.data, json.count);
            chat_writer_put(&writer, "<|end|>");
        } else {
            writer.err = out_of_memory(report);
        }
        buf_deinit(&head);
        buf_deinit(&json);
    } else {
        chat_writer_put(&writer, chat->family->tool_answer.before);
        chat_writer_text(&writer, value, value_bytes);
        chat_writer_put(&writer, chat->family->tool_answer.after);
    }
    return chat_writer_end(&writer);
}

/* ---- what calls look like, as a grammar ---- */

static const char json_rules[] =
    "object ::= \"{\" ws (member (\",\" ws member)*)? \"}\"\n"
    "member ::= string \":\" ws value\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\"\n"
    "value ::= (object | array | string | number | \"true\" | \"false\" | \"null\") ws\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "char ::= [^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" hex hex hex hex)\n"
    "hex ::= [0-9a-fA-F]\n"
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]*) (\".\" [0-9]+)? ([eE] [+-]? [0-9]+)?\n"
    "ws ::= [ \\n]?\n";

static const char *const call_rules[] = {
    [CHAT_TOOLS_XML] =
        "root ::= call (\"\\n\" call)*\n"
        "call ::= \"<tool_call>\\n{\\\"name\\\": \\\"\" name \"\\\", \\\"arguments\\\": \" object "
        "\"}\\n</tool_call>\"\n",
    [CHAT_TOOLS_LLAMA3] =
        "root ::= \"{\" ws \"\\\"name\\\"\" ws \":\" ws \"\\\"\" name \"\\\"\" ws \",\" ws "
        "\"\\\"parameters\\\"\" ws \":\" ws object ws \"}\"\n",
    [CHAT_TOOLS_MISTRAL] = "root ::= call+\ncall ::= \"[TOOL_CALLS]\" name \"[ARGS]\" object\n",
    [CHAT_TOOLS_DEEPSEEK] =
        "root ::= \"<｜tool▁calls▁begin｜>\" call (\"\\n\"? call)* \"<｜tool▁calls▁end｜>\"\n"
        "call ::= \"<｜tool▁call▁begin｜>function<｜tool▁sep｜>\" name \"\\n```json\\n\" object "
        "\"\\n```<｜tool▁call▁end｜>\"\n",
    [CHAT_TOOLS_GPTOSS] = NULL,
};

/* `text` as characters of an EBNF string. */
static void put_escaped(const char *text, size_t bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            (void)buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            (void)buf_printf(out, "\\x%02X", c);
        else
            (void)buf_putc(out, (char)c);
    }
}

enum err chat_tool_grammar(const struct chat *chat, const struct chat_string *tools,
                           size_t tool_count, struct buf *ebnf, bool *native, struct report *report)
{
    enum chat_tools kind = chat->family->tools;
    const char *rules = kind < sizeof call_rules / sizeof *call_rules ? call_rules[kind] : NULL;
    struct buf name, text;
    enum err err = ERR_OK;
    *native = false;
    if (!rules || tool_count == 0)
        return ERR_OK;
    buf_init(&name, NULL);
    buf_init(&text, NULL);
    (void)buf_puts(&text, rules);
    (void)buf_puts(&text, "name ::= ");
    for (size_t i = 0; i < tool_count && err == ERR_OK; i++) {
        struct chat_string function;
        buf_clear(&name);
        err = read_tool(tools[i], i, &function, &name, report);
        (void)buf_puts(&text, i > 0 ? " | \"" : "\"");
        if (err == ERR_OK && kind != CHAT_TOOLS_MISTRAL && kind != CHAT_TOOLS_DEEPSEEK) {
            /* the name stands in a JSON string */
            struct buf quoted;
            buf_init(&quoted, NULL);
            if (buf_put_json(&quoted, name.data, name.count))
                put_escaped(quoted.data + 1, quoted.count - 2, &text);
            text.failed |= quoted.failed;
            buf_deinit(&quoted);
        } else {
            put_escaped(name.data ? name.data : "", name.count, &text);
        }
        (void)buf_putc(&text, '"');
    }
    (void)buf_putc(&text, '\n');
    (void)buf_puts(&text, json_rules);
    if (err == ERR_OK && (text.failed || !buf_append(ebnf, text.data, text.count)))
        err = out_of_memory(report);
    *native = err == ERR_OK;
    buf_deinit(&name);
    buf_deinit(&text);
    return err;
}

/* ---- hearing calls ---- */

/* `text` is what was fed and not yet understood; once `inside`, it begins behind the mark that
 * opens a call. */
struct chat_tool_decoder {
    const struct chat *chat;
    struct mem_heap *heap;
    struct buf text;
    struct buf name, args;
    bool inside;
};

enum err chat_tool_decoder_create(const struct chat *chat, struct mem_heap *heap,
                                  struct chat_tool_decoder **out, struct report *report)
{
    struct chat_tool_decoder *decoder = mem_calloc(heap, 1, sizeof *decoder);
    if (!decoder)
        return out_of_memory(report);
    decoder->chat = chat;
    decoder->heap = heap;
    buf_init(&decoder->text, heap);
    buf_init(&decoder->name, heap);
    buf_init(&decoder->args, heap);
    *out = decoder;
    return ERR_OK;
}

void chat_tool_decoder_destroy(struct chat_tool_decoder *decoder)
{
    if (!decoder)
        return;
    buf_deinit(&decoder->text);
    buf_deinit(&decoder->name);
    buf_deinit(&decoder->args);
    mem_free(decoder->heap, decoder);
}

void chat_tool_decoder_reset(struct chat_tool_decoder *decoder)
{
    buf_clear(&decoder->text);
    decoder->inside = false;
}

static void drop_front(struct buf *buf, size_t bytes)
{
    if (bytes > 0 && buf->count > 0)
        memmove(buf->data, buf->data + bytes, buf->count - bytes + 1);
    buf->count -= bytes;
}

/* Takes name and arguments from a JSON object; false when it is none. */
static bool read_call(struct chat_tool_decoder *decoder, struct chat_string object,
                      const char *args_key)
{
    struct chat_string name, args;
    buf_clear(&decoder->name);
    buf_clear(&decoder->args);
    if (object.data[0] != '{')
        return false;
    if (chat_json_member(object, "name", &name))
        (void)chat_json_string(name, &decoder->name);
    if (!chat_json_member(object, args_key, &args))
        args = (struct chat_string){"null", 4};
    return chat_json_compact(args, &decoder->args);
}

static bool parse_call(struct chat_tool_decoder *decoder, const char *text, size_t bytes,
                       const char *args_key)
{
    struct chat_string value, none, first;
    size_t at = 0;
    if (!chat_json_parse(text, bytes, &value))
        return false;
    if (value.data[0] == '[') {
        if (!chat_json_next(value, &at, &none, &first))
            return false;
        value = first;
    }
    return read_call(decoder, value, args_key);
}

static bool copy_call(struct chat_tool_decoder *decoder, struct chat_string name,
                      struct chat_string args)
{
    buf_clear(&decoder->name);
    buf_clear(&decoder->args);
    return buf_append(&decoder->name, name.data, name.bytes) &&
           buf_append(&decoder->args, args.data, args.bytes);
}

/* Text up to `open` is dropped; false when it has not come yet. */
static bool enter(struct chat_tool_decoder *decoder, const char *open)
{
    size_t at = chat_find(decoder->text.data, decoder->text.count, 0, open);
    if (at == SIZE_MAX) {
        size_t keep = strlen(open) - 1;
        if (decoder->text.count > keep)
            drop_front(&decoder->text, decoder->text.count - keep);
        return false;
    }
    drop_front(&decoder->text, at + strlen(open));
    decoder->inside = true;
    return true;
}

/* What stands between `open` and `close`, when both have come: JSON (`args_key` not NULL) or the
 * DeepSeek form. */
static bool find_enclosed(struct chat_tool_decoder *decoder, const char *open, const char *close,
                          const char *args_key)
{
    struct buf *text = &decoder->text;
    bool found = false;
    while (!found && (decoder->inside || enter(decoder, open))) {
        size_t end = chat_find(text->data, text->count, 0, close);
        if (end == SIZE_MAX)
            return false;
        if (args_key) {
            found = parse_call(decoder, text->data, end, args_key);
        } else {
            static const char separator[] = "<｜tool▁sep｜>", fence[] = "```json\n";
            size_t name = chat_find(text->data, end, 0, separator);
            name = name == SIZE_MAX ? 0 : name + strlen(separator);
            size_t args = chat_find(text->data, end, name, fence);
            size_t last =
                args == SIZE_MAX ? args : chat_find(text->data, end, args + strlen(fence), "\n```");
            if (last != SIZE_MAX)
                found = copy_call(decoder, chat_trim(text->data + name, args - name),
                                  (struct chat_string){text->data + args + strlen(fence),
                                                       last - args - strlen(fence)});
        }
        drop_front(text, end + strlen(close));
        decoder->inside = false;
    }
    return found;
}

/* NAME[ARGS]JSON ends where the next call begins, at </s>, or where the JSON is complete. */
static bool find_mistral(struct chat_tool_decoder *decoder)
{
    static const char open[] = "[TOOL_CALLS]", middle[] = "[ARGS]", eos[] = "</s>";
    struct buf *text = &decoder->text;
    struct chat_string value;
    if (!decoder->inside && !enter(decoder, open))
        return false;
    size_t name = chat_find(text->data, text->count, 0, middle);
    if (name == SIZE_MAX)
        return false;
    size_t from = name + strlen(middle);
    size_t next = chat_find(text->data, text->count, from, open);
    size_t end = chat_find(text->data, text->count, from, eos);
    if (next < end)
        end = next;
    if (end == SIZE_MAX) {
        if (!chat_json_parse(text->data + from, text->count - from, &value) || value.data[0] != '{')
            return false;
        end = text->count;
    }
    bool ok =
        copy_call(decoder, chat_trim(text->data, name), chat_trim(text->data + from, end - from));
    drop_front(text, end);
    decoder->inside = false;
    return ok;
}

static bool find_whole(struct chat_tool_decoder *decoder)
{
    struct chat_string all = chat_trim(decoder->text.data, decoder->text.count);
    if (all.bytes == 0 || all.data[0] != '{' || all.data[all.bytes - 1] != '}' ||
        !parse_call(decoder, all.data, all.bytes, "parameters"))
        return false;
    buf_clear(&decoder->text);
    return true;
}

enum err chat_tool_decoder_feed(struct chat_tool_decoder *decoder, const uint32_t *ids,
                                size_t count, struct chat_tool_event *event, struct report *report)
{
    bool found = false;
    *event = (struct chat_tool_event){.kind = CHAT_TOOL_START};
    enum chat_tools kind = decoder->chat->family->tools;
    if (kind == CHAT_TOOLS_NONE || kind == CHAT_TOOLS_GPTOSS)
        return ERR_OK;
    enum err err = tok_decode(decoder->chat->tok, ids, count, &decoder->text, report);
    if (err != ERR_OK)
        return err;
    if (decoder->text.count > CALL_BYTES_MAX) {
        chat_tool_decoder_reset(decoder);
        return err_set(report, ERR_LIMIT, "A tool call is longer than %zu bytes", CALL_BYTES_MAX);
    }
    if (decoder->text.count == 0)
        return ERR_OK;
    if (kind == CHAT_TOOLS_XML)
        found = find_enclosed(decoder, "<tool_call>", "</tool_call>", "arguments");
    else if (kind == CHAT_TOOLS_OLMO3)
        found = find_enclosed(decoder, "<function_calls>", "</function_calls>", "arguments");
    else if (kind == CHAT_TOOLS_DEEPSEEK)
        found = find_enclosed(decoder, "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", NULL);
    else if (kind == CHAT_TOOLS_MISTRAL)
        found = find_mistral(decoder);
    else
        found = find_whole(decoder);
    if (decoder->name.failed || decoder->args.failed)
        return out_of_memory(report);
    if (found) {
        event->kind = CHAT_TOOL_CALL;
        event->name =
            (struct chat_string){decoder->name.data ? decoder->name.data : "", decoder->name.count};
        event->args =
            (struct chat_string){decoder->args.data ? decoder->args.data : "", decoder->args.count};
    }
    return ERR_OK;
}
