/* Invariants:
 *   - until comp_wit_resolve, `def` and `target` are NULL and `from` is as written, made full by
 *     the file's package;
 *   - after it, following `def` and `target` always ends: resolve_def has walked every definition
 *     once with a mark on those it is inside of. */
#include "interp/component/witdoc.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/vec.h"
#include "interp/component/types.h"

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_MARK, TOKEN_ARROW, TOKEN_BAD };
enum { STATE_NEW, STATE_OPEN, STATE_DONE };

struct token {
    enum token_kind kind;
    const char *at;
    size_t bytes;
    uint32_t line;
    const char *doc; /* what stood before it */
};

struct reader {
    struct comp_wit *wit;
    struct comp_wit_package *package;
    const char *text, *end, *at, *file;
    uint32_t line, depth;
    struct token token; /* the next one */
    struct report *report;
    bool failed;
};

struct fields {
    struct comp_wit_field *items;
    size_t count, capacity;
};

/* ---- tokens ------------------------------------------------------------------------------- */

static void fail_memory(struct reader *r)
{
    r->failed = true;
    (void)err_set(r->report, ERR_MEMORY, "no memory for %s", r->file);
}

static bool fail(struct reader *r, const char *expected)
{
    if (!r->failed) {
        const struct token *t = &r->token;
        r->failed = true;
        (void)err_set(r->report, ERR_INVALID, "%s, line %u: expected %s, found %s%.*s%s", r->file,
                      t->line, expected, t->kind == TOKEN_END ? "the end of the file" : "`",
                      (int)(t->bytes < 40 ? t->bytes : 40), t->at, t->kind == TOKEN_END ? "" : "`");
    }
    return false;
}

static const char *keep(struct reader *r, const char *text, size_t bytes)
{
    const char *copy = arena_strdup(&r->wit->arena, text, bytes);
    if (!copy)
        fail_memory(r);
    return copy ? copy : "";
}

static void *make(struct reader *r, size_t bytes)
{
    void *made = arena_calloc(&r->wit->arena, 1, bytes);
    if (!made)
        fail_memory(r);
    return made;
}

static bool starts(const struct reader *r, const char *word)
{
    size_t bytes = strlen(word);
    return (size_t)(r->end - r->at) >= bytes && memcmp(r->at, word, bytes) == 0;
}

static bool skip_block_comment(struct reader *r)
{
    uint32_t depth = 0;
    do {
        if (r->at >= r->end)
            return false;
        if (starts(r, "/*")) {
            depth++;
            r->at += 2;
        } else if (starts(r, "*/")) {
            depth--;
            r->at += 2;
        } else {
            r->line += *r->at == '\n';
            r->at++;
        }
    } while (depth);
    return true;
}

/* Skips space and comments; the doc comment among them is kept. */
static const char *skip_space(struct reader *r)
{
    struct buf doc;
    buf_init(&doc, NULL);
    const char *kept = "";
    while (r->at < r->end) {
        if (*r->at == '\n') {
            r->line++;
            r->at++;
        } else if (*r->at == ' ' || *r->at == '\t' || *r->at == '\r') {
            r->at++;
        } else if (starts(r, "//")) {
            bool is_doc = starts(r, "///");
            r->at += is_doc ? 3 : 2;
            if (is_doc && r->at < r->end && *r->at == ' ')
                r->at++;
            const char *line = r->at;
            while (r->at < r->end && *r->at != '\n')
                r->at++;
            size_t bytes = (size_t)(r->at - line);
            while (bytes && (line[bytes - 1] == '\r' || line[bytes - 1] == ' '))
                bytes--;
            if (is_doc) {
                if (doc.count)
                    (void)buf_putc(&doc, '\n');
                (void)buf_append(&doc, line, bytes);
            }
        } else if (starts(r, "/*")) {
            if (!skip_block_comment(r))
                break;
        } else {
            break;
        }
    }
    if (doc.count)
        kept = keep(r, doc.data, doc.count);
    buf_deinit(&doc);
    return kept;
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Reads the next token. A word may begin with '%', which is dropped, and does not end in "->". */
static void advance(struct reader *r)
{
    struct token *t = &r->token;
    t->doc = skip_space(r);
    t->line = r->line;
    t->at = r->at;
    t->bytes = 0;
    t->kind = TOKEN_END;
    if (r->at >= r->end)
        return;
    t->bytes = 1;
    if (starts(r, "->")) {
        t->kind = TOKEN_ARROW;
        t->bytes = 2;
    } else if (is_word_char(*r->at) || *r->at == '%') {
        const char *at = r->at + (*r->at == '%');
        t->at = at;
        while (at < r->end && is_word_char(*at) && !(at[0] == '-' && at + 1 < r->end && at[1] == '>'))
            at++;
        t->bytes = (size_t)(at - t->at);
        t->kind = t->bytes ? TOKEN_WORD : TOKEN_BAD;
        r->at = at;
        return;
    } else {
        t->kind = strchr("{}()<>,;:=./@*", *r->at) ? TOKEN_MARK : TOKEN_BAD;
    }
    r->at += t->bytes;
}

static bool is_mark(const struct reader *r, char mark)
{
    return r->token.kind == TOKEN_MARK && *r->token.at == mark;
}

static bool accept(struct reader *r, char mark)
{
    if (r->failed || !is_mark(r, mark))
        return false;
    advance(r);
    return true;
}

static bool expect(struct reader *r, char mark)
{
    char wanted[4] = {'`', mark, '`', 0};
    return accept(r, mark) || fail(r, wanted);
}

static bool is_word(const struct reader *r, const char *word)
{
    return r->token.kind == TOKEN_WORD && r->token.bytes == strlen(word) &&
           memcmp(r->token.at, word, r->token.bytes) == 0;
}

static bool accept_word(struct reader *r, const char *word)
{
    if (r->failed || !is_word(r, word))
        return false;
    advance(r);
    return true;
}

/* A name, kept; "" after a failure. */
static const char *read_name(struct reader *r, const char *what)
{
    if (r->failed || r->token.kind != TOKEN_WORD || !comp_name_is_label(r->token.at, r->token.bytes)) {
        (void)fail(r, what);
        return "";
    }
    const char *name = keep(r, r->token.at, r->token.bytes);
    advance(r);
    return name;
}

/* "0.2.4", with pre-release and build; stands directly behind its '@'. Dots belong to it when a
 * word character follows. */
static const char *read_version(struct reader *r)
{
    const char *begin = r->token.at, *at = begin;
    if (r->failed || r->token.kind != TOKEN_WORD) {
        (void)fail(r, "a version");
        return "";
    }
    while (at < r->end && (is_word_char(*at) || *at == '+' ||
                           (*at == '.' && at + 1 < r->end && is_word_char(at[1]))))
        at++;
    const char *version = keep(r, begin, (size_t)(at - begin));
    r->at = at;
    advance(r);
    return version;
}

/* "@since(version = 0.2.0)" and the like; what is unstable is read like the rest. */
static void skip_attributes(struct reader *r)
{
    while (!r->failed && is_mark(r, '@')) {
        advance(r);
        (void)read_name(r, "an attribute's name");
        if (accept(r, '(')) {
            while (!r->failed && !is_mark(r, ')') && r->token.kind != TOKEN_END)
                advance(r);
            (void)expect(r, ')');
        }
    }
}

/* The doc comment of the item that comes, its attributes skipped. */
static const char *begin_item(struct reader *r)
{
    const char *doc = r->token.doc;
    skip_attributes(r);
    return doc[0] ? doc : r->token.doc;
}

/* ---- types -------------------------------------------------------------------------------- */

static const struct comp_wit_type *read_type(struct reader *r);

static void add_field(struct reader *r, struct fields *fields, const char *name, const char *doc,
                      const struct comp_wit_type *type)
{
    if (!r->failed && !vec_push(NULL, fields, (struct comp_wit_field){name, doc, type}))
        fail_memory(r);
}

static void take_fields(struct reader *r, struct fields *fields, struct comp_wit_field **out,
                        uint32_t *count)
{
    struct comp_wit_field *copy = arena_calloc(&r->wit->arena, fields->count + 1, sizeof *copy);
    if (!copy)
        fail_memory(r);
    else if (fields->count)
        memcpy(copy, fields->items, fields->count * sizeof *copy);
    *out = copy;
    *count = copy ? (uint32_t)fields->count : 0;
    vec_free(NULL, fields);
}

static struct comp_wit_type *new_type(struct reader *r, enum comp_kind kind, struct fields *fields)
{
    struct comp_wit_type *type = make(r, sizeof *type);
    if (!type) {
        vec_free(NULL, fields);
        return NULL;
    }
    type->kind = kind;
    take_fields(r, fields, &type->fields, &type->field_count);
    return r->failed ? NULL : type;
}

static const struct {
    const char *name;
    enum comp_kind kind;
} words[] = {
    {"bool", COMP_BOOL}, {"s8", COMP_S8}, {"u8", COMP_U8}, {"s16", COMP_S16}, {"u16", COMP_U16},
    {"s32", COMP_S32}, {"u32", COMP_U32}, {"s64", COMP_S64}, {"u64", COMP_U64}, {"f32", COMP_F32},
    {"f64", COMP_F64}, {"char", COMP_CHAR}, {"string", COMP_STRING}, {"list", COMP_LIST},
    {"option", COMP_OPTION}, {"result", COMP_RESULT}, {"tuple", COMP_TUPLE}, {"own", COMP_OWN},
    {"borrow", COMP_BORROW}, {"record", COMP_RECORD}, {"variant", COMP_VARIANT},
    {"enum", COMP_ENUM}, {"flags", COMP_FLAGS},
};
enum { WORD_COUNT = sizeof words / sizeof *words };

/* "<T, ...>" */
static void read_arguments(struct reader *r, enum comp_kind kind, struct fields *fields)
{
    if (kind == COMP_RESULT && !is_mark(r, '<')) {
        add_field(r, fields, NULL, "", NULL);
        add_field(r, fields, NULL, "", NULL);
        return;
    }
    (void)expect(r, '<');
    do {
        if (kind == COMP_RESULT && fields->count == 0 && accept_word(r, "_"))
            add_field(r, fields, NULL, "", NULL);
        else
            add_field(r, fields, NULL, "", read_type(r));
    } while (!r->failed && (kind == COMP_TUPLE || (kind == COMP_RESULT && fields->count == 1)) &&
             accept(r, ',') && !is_mark(r, '>'));
    (void)expect(r, '>');
    if (kind == COMP_RESULT && fields->count == 1)
        add_field(r, fields, NULL, "", NULL);
}

static const struct comp_wit_type *read_type(struct reader *r)
{
    struct fields none = {0};
    if (r->failed)
        return NULL;
    if (r->token.kind != TOKEN_WORD || r->depth >= COMP_WIT_DEPTH_MAX) {
        (void)fail(r, r->token.kind != TOKEN_WORD ? "a type" : "a less deeply nested type");
        return NULL;
    }
    const struct comp_wit_type *type = NULL;
    size_t i = 0;
    while (i < WORD_COUNT && !is_word(r, words[i].name))
        i++;
    if (i == WORD_COUNT || words[i].kind == COMP_RECORD || words[i].kind >= COMP_OWN + 2 ||
        r->token.at[-1] == '%') {
        const char *name = read_name(r, "a type");
        struct comp_wit_type *made = new_type(r, COMP_BOOL, &none);
        if (made)
            made->name = name;
        return made;
    }
    r->depth++;
    advance(r);
    if (words[i].kind > COMP_STRING) {
        struct fields fields = {0};
        read_arguments(r, words[i].kind, &fields);
        type = new_type(r, words[i].kind, &fields);
    } else {
        type = new_type(r, words[i].kind, &none);
    }
    r->depth--;
    return type;
}

/* The body of a record, variant, enum or flags. */
static struct comp_wit_type *read_braces(struct reader *r, enum comp_kind kind)
{
    struct fields fields = {0};
    (void)expect(r, '{');
    while (!r->failed && !accept(r, '}')) {
        const char *doc = begin_item(r);
        const char *name = read_name(r, "a name");
        const struct comp_wit_type *type = NULL;
        if (kind == COMP_RECORD) {
            (void)expect(r, ':');
            type = read_type(r);
        } else if (kind == COMP_VARIANT && accept(r, '(')) {
            type = read_type(r);
            (void)expect(r, ')');
        }
        add_field(r, &fields, name, doc, type);
        if (!r->failed && !accept(r, ',') && !is_mark(r, '}'))
            (void)fail(r, "`,` or `}`");
    }
    if (!r->failed && fields.count == 0)
        (void)fail(r, "at least one name in the braces before");
    return new_type(r, kind, &fields);
}

/* ---- interfaces --------------------------------------------------------------------------- */

static struct comp_wit_def *add_def(struct reader *r, struct comp_wit_interface *interface,
                                    enum comp_wit_def_kind kind, const char *name, const char *doc,
                                    uint32_t line)
{
    if (!r->failed && comp_wit_find_def(interface, name, strlen(name))) {
        r->failed = true;
        (void)err_set(r->report, ERR_INVALID, "%s, line %u: %s has `%s` already", r->file, line,
                      interface->id, name);
    }
    struct comp_wit_def *def = r->failed ? NULL : make(r, sizeof *def);
    if (!def)
        return NULL;
    *def = (struct comp_wit_def){
        .kind = kind, .name = name, .doc = doc, .interface = interface, .line = line};
    *interface->def_end = def;
    interface->def_end = &def->next;
    return def;
}

/* "name: func(...) -> T;" after its name and colon, or a constructor's parameters. `resource` is
 * NULL outside of one. */
static void read_func(struct reader *r, struct comp_wit_interface *interface, const char *resource,
                      const char *kind, const char *name, const char *doc)
{
    struct fields params = {0};
    struct buf full;
    buf_init(&full, NULL);
    (void)buf_puts(&full, kind);
    if (resource)
        (void)buf_puts(&full, resource);
    if (resource && name[0])
        (void)buf_putc(&full, '.');
    (void)buf_puts(&full, name);
    bool is_constructor = strcmp(kind, "[constructor]") == 0;
    if (strcmp(kind, "[method]") == 0) {
        struct fields self = {0};
        struct fields none = {0};
        struct comp_wit_type *named = new_type(r, COMP_BOOL, &none);
        if (named)
            named->name = resource;
        add_field(r, &self, NULL, "", named);
        add_field(r, &params, "self", "", new_type(r, COMP_BORROW, &self));
    }
    (void)expect(r, '(');
    while (!r->failed && !accept(r, ')')) {
        const char *param = read_name(r, "a parameter's name");
        (void)expect(r, ':');
        add_field(r, &params, param, "", read_type(r));
        if (!r->failed && !accept(r, ',') && !is_mark(r, ')'))
            (void)fail(r, "`,` or `)`");
    }
    const struct comp_wit_type *result = NULL;
    if (is_constructor) {
        struct fields none = {0};
        struct comp_wit_type *named = new_type(r, COMP_BOOL, &none);
        if (named)
            named->name = resource;
        result = named;
    }
    if (!r->failed && r->token.kind == TOKEN_ARROW) {
        advance(r);
        result = read_type(r);
    }
    (void)expect(r, ';');
    struct comp_wit_func *func = r->failed || full.failed ? NULL : make(r, sizeof *func);
    if (full.failed)
        fail_memory(r);
    if (func) {
        func->name = keep(r, full.data, full.count);
        func->doc = doc;
        func->result = result;
        take_fields(r, &params, &func->params, &func->param_count);
        if (!r->failed && comp_wit_find_func(interface, func->name, full.count)) {
            r->failed = true;
            (void)err_set(r->report, ERR_INVALID, "%s, line %u: %s has `%s` already", r->file,
                          r->token.line, interface->id, func->name);
        }
        *interface->func_end = func;
        interface->func_end = &func->next;
    }
    vec_free(NULL, &params);
    buf_deinit(&full);
}

static void read_resource(struct reader *r, struct comp_wit_interface *interface, const char *doc)
{
    uint32_t line = r->token.line;
    const char *name = read_name(r, "a resource's name");
    (void)add_def(r, interface, COMP_WIT_RESOURCE, name, doc, line);
    if (accept(r, ';'))
        return;
    (void)expect(r, '{');
    while (!r->failed && !accept(r, '}')) {
        const char *func_doc = begin_item(r);
        if (is_word(r, "constructor") && r->token.at[-1] != '%') {
            advance(r);
            read_func(r, interface, name, "[constructor]", "", func_doc);
            continue;
        }
        const char *func = read_name(r, "a function's name");
        (void)expect(r, ':');
        bool is_static = accept_word(r, "static");
        if (!accept_word(r, "func"))
            (void)fail(r, "`func`");
        read_func(r, interface, name, is_static ? "[static]" : "[method]", func, func_doc);
    }
}

/* "pie:core/model@1.0.0", "model": full, with the own package where none is named. */
static const char *read_path(struct reader *r)
{
    struct buf path;
    buf_init(&path, NULL);
    const char *first = read_name(r, "a name");
    if (accept(r, ':')) {
        const char *package = read_name(r, "a package's name");
        (void)expect(r, '/');
        const char *name = read_name(r, "an interface's name");
        (void)buf_printf(&path, "%s:%s/%s", first, package, name);
        if (!r->failed && is_mark(r, '@')) {
            advance(r);
            (void)buf_printf(&path, "@%s", read_version(r));
        }
    } else if (r->package) {
        (void)buf_printf(&path, "%s/%s", r->package->name, first);
        if (r->package->version[0])
            (void)buf_printf(&path, "@%s", r->package->version);
    }
    const char *full = "";
    if (path.failed)
        fail_memory(r);
    else if (!r->failed)
        full = keep(r, path.data ? path.data : "", path.count);
    buf_deinit(&path);
    return full;
}

/* "use PATH.{a, b as c};" */
static void read_use(struct reader *r, struct comp_wit_interface *interface)
{
    const char *from = read_path(r);
    (void)expect(r, '.');
    (void)expect(r, '{');
    while (!r->failed && !accept(r, '}')) {
        uint32_t line = r->token.line;
        const char *theirs = read_name(r, "a type's name");
        const char *ours = accept_word(r, "as") ? read_name(r, "a name") : theirs;
        struct comp_wit_def *def = add_def(r, interface, COMP_WIT_USE, ours, "", line);
        if (def) {
            def->from = from;
            def->from_name = theirs;
        }
        if (!r->failed && !accept(r, ',') && !is_mark(r, '}'))
            (void)fail(r, "`,` or `}`");
    }
    (void)expect(r, ';');
}

static void read_interface_item(struct reader *r, struct comp_wit_interface *interface)
{
    const char *doc = begin_item(r);
    uint32_t line = r->token.line;
    bool is_plain = r->token.kind == TOKEN_WORD && r->token.at[-1] == '%';
    static const struct {
        const char *word;
        enum comp_kind kind;
    } kinds[] = {{"record", COMP_RECORD}, {"variant", COMP_VARIANT}, {"enum", COMP_ENUM},
                 {"flags", COMP_FLAGS}};
    struct token before = r->token;
    const char *rest = r->at;
    uint32_t rest_line = r->line;
    if (!is_plain && r->token.kind == TOKEN_WORD) {
        /* A word is a keyword unless a colon follows: `use: func();` names a function. */
        advance(r);
        bool is_name = is_mark(r, ':');
        r->token = before;
        r->at = rest;
        r->line = rest_line;
        is_plain = is_name;
    }
    if (!is_plain && accept_word(r, "use")) {
        read_use(r, interface);
        return;
    }
    if (!is_plain && accept_word(r, "resource")) {
        read_resource(r, interface, doc);
        return;
    }
    if (!is_plain && accept_word(r, "type")) {
        const char *name = read_name(r, "a type's name");
        struct comp_wit_def *def = add_def(r, interface, COMP_WIT_ALIAS, name, doc, line);
        (void)expect(r, '=');
        const struct comp_wit_type *type = read_type(r);
        (void)expect(r, ';');
        struct comp_wit_type *copy = r->failed || !type ? NULL : make(r, sizeof *copy);
        if (def && copy) {
            *copy = *type;
            def->type = copy;
        }
        return;
    }
    for (size_t i = 0; !is_plain && i < sizeof kinds / sizeof *kinds; i++) {
        if (!accept_word(r, kinds[i].word))
            continue;
        const char *name = read_name(r, "a type's name");
        struct comp_wit_def *def = add_def(r, interface, COMP_WIT_ALIAS, name, doc, line);
        struct comp_wit_type *type = read_braces(r, kinds[i].kind);
        if (def)
            def->type = type;
        return;
    }
    const char *name = read_name(r, "a type or a function");
    (void)expect(r, ':');
    if (!accept_word(r, "func"))
        (void)fail(r, "`func`");
    read_func(r, interface, NULL, "", name, doc);
}

static const char *full_id(struct reader *r, const char *name)
{
    struct buf id;
    buf_init(&id, NULL);
    (void)buf_printf(&id, "%s/%s", r->package->name, name);
    if (r->package->version[0])
        (void)buf_printf(&id, "@%s", r->package->version);
    const char *full = "";
    if (id.failed)
        fail_memory(r);
    else
        full = keep(r, id.data, id.count);
    buf_deinit(&id);
    return full;
}

static void read_interface(struct reader *r, const char *doc)
{
    const char *name = read_name(r, "an interface's name");
    struct comp_wit_interface *interface = r->failed ? NULL : make(r, sizeof *interface);
    if (!interface)
        return;
    *interface = (struct comp_wit_interface){.id = full_id(r, name), .name = name, .doc = doc,
                                             .file = r->file, .package = r->package};
    interface->def_end = &interface->defs;
    interface->func_end = &interface->funcs;
    for (const struct comp_wit_interface *i = r->package->interfaces; i; i = i->next) {
        if (strcmp(i->name, name) == 0 && !r->failed) {
            r->failed = true;
            (void)err_set(r->report, ERR_INVALID, "%s, line %u: %s is there twice", r->file,
                          r->token.line, interface->id);
        }
    }
    (void)expect(r, '{');
    while (!r->failed && !accept(r, '}'))
        read_interface_item(r, interface);
    *r->package->interface_end = interface;
    r->package->interface_end = &interface->next;
}

/* ---- worlds ------------------------------------------------------------------------------- */

static void read_world(struct reader *r, const char *doc)
{
    const char *name = read_name(r, "a world's name");
    struct comp_wit_world *world = r->failed ? NULL : make(r, sizeof *world);
    if (!world)
        return;
    *world = (struct comp_wit_world){
        .id = full_id(r, name), .name = name, .doc = doc, .file = r->file};
    struct comp_wit_item **end = &world->items;
    (void)expect(r, '{');
    while (!r->failed && !accept(r, '}')) {
        (void)begin_item(r);
        struct comp_wit_item *item = make(r, sizeof *item);
        if (!item)
            return;
        item->line = r->token.line;
        if (accept_word(r, "import"))
            item->kind = COMP_WIT_IMPORT;
        else if (accept_word(r, "export"))
            item->kind = COMP_WIT_EXPORT;
        else if (accept_word(r, "include"))
            item->kind = COMP_WIT_INCLUDE;
        else
            (void)fail(r, "`import`, `export` or `include` of an interface or world by name");
        item->name = read_path(r);
        (void)expect(r, ';');
        *end = item;
        end = &item->next;
    }
    *r->package->world_end = world;
    r->package->world_end = &world->next;
}

/* ---- files -------------------------------------------------------------------------------- */

static void use_package(struct reader *r, const char *name, const char *version, const char *doc)
{
    struct comp_wit_package **at = &r->wit->packages;
    while (*at && (strcmp((*at)->name, name) != 0 || strcmp((*at)->version, version) != 0))
        at = &(*at)->next;
    if (!*at) {
        struct comp_wit_package *made = r->failed ? NULL : make(r, sizeof *made);
        if (!made)
            return;
        *made = (struct comp_wit_package){.name = name, .version = version, .doc = ""};
        made->interface_end = &made->interfaces;
        made->world_end = &made->worlds;
        *at = made;
    }
    r->package = *at;
    if (doc[0])
        r->package->doc = doc;
}

static void read_package(struct reader *r, const char *doc)
{
    struct buf name;
    buf_init(&name, NULL);
    const char *namespace = read_name(r, "a namespace");
    (void)expect(r, ':');
    const char *rest = read_name(r, "a package's name");
    const char *version = "";
    if (!r->failed && is_mark(r, '@')) {
        advance(r);
        version = read_version(r);
    }
    (void)expect(r, ';');
    (void)buf_printf(&name, "%s:%s", namespace, rest);
    if (name.failed)
        fail_memory(r);
    if (!r->failed)
        use_package(r, keep(r, name.data, name.count), version, doc);
    buf_deinit(&name);
}

void comp_wit_init(struct comp_wit *wit)
{
    *wit = (struct comp_wit){0};
    arena_init(&wit->arena, NULL);
}

void comp_wit_deinit(struct comp_wit *wit)
{
    arena_deinit(&wit->arena);
    *wit = (struct comp_wit){0};
}

enum err comp_wit_add(struct comp_wit *wit, const char *text, size_t bytes, const char *file,
                      const char *package, struct report *report)
{
    struct report local = {0};
    struct report *out = report ? report : &local;
    if (bytes > COMP_WIT_BYTES_MAX)
        return err_set(out, ERR_LIMIT, "%s is larger than 1 MiB", file);
    /* A zero in front and behind: a token's predecessor can always be looked at. */
    char *copy = arena_alloc(&wit->arena, bytes + 2);
    if (!copy)
        return err_set(out, ERR_MEMORY, "no memory for %s", file);
    copy[0] = 0;
    if (bytes)
        memcpy(copy + 1, text, bytes);
    copy[bytes + 1] = 0;
    struct reader r = {.wit = wit, .text = copy + 1, .at = copy + 1, .end = copy + 1 + bytes,
                       .line = 1, .report = out};
    r.file = keep(&r, file, strlen(file));
    advance(&r);
    const char *doc = begin_item(&r);
    if (!r.failed && accept_word(&r, "package")) {
        read_package(&r, doc);
    } else if (package) {
        const char *at = strchr(package, '@');
        size_t name_bytes = at ? (size_t)(at - package) : strlen(package);
        use_package(&r, keep(&r, package, name_bytes), keep(&r, at ? at + 1 : "", at ? strlen(at + 1) : 0),
                    "");
    } else {
        (void)fail(&r, "`package`");
    }
    while (!r.failed && r.token.kind != TOKEN_END) {
        doc = begin_item(&r);
        if (accept_word(&r, "interface"))
            read_interface(&r, doc);
        else if (accept_word(&r, "world"))
            read_world(&r, doc);
        else
            (void)fail(&r, "`interface` or `world`");
    }
    if (!r.failed)
        return ERR_OK;
    return out->code ? out->code : ERR_INVALID;
}

/* ---- finding ------------------------------------------------------------------------------ */

static bool is_text(const char *text, const char *other, size_t bytes)
{
    return strlen(text) == bytes && memcmp(text, other, bytes) == 0;
}

const struct comp_wit_interface *comp_wit_find(const struct comp_wit *wit, const char *id,
                                               size_t bytes)
{
    char wanted[COMP_NAME_MAX], key[COMP_NAME_MAX];
    size_t wanted_bytes, key_bytes;
    const struct comp_wit_interface *best = NULL;
    if (!comp_name_key(id, bytes, wanted, &wanted_bytes))
        return NULL;
    for (const struct comp_wit_package *p = wit->packages; p; p = p->next)
        for (const struct comp_wit_interface *i = p->interfaces; i; i = i->next) {
            if (is_text(i->id, id, bytes))
                return i;
            if (comp_name_key(i->id, strlen(i->id), key, &key_bytes) && key_bytes == wanted_bytes &&
                memcmp(key, wanted, key_bytes) == 0)
                best = i;
        }
    return best;
}

const struct comp_wit_func *comp_wit_find_func(const struct comp_wit_interface *interface,
                                               const char *name, size_t bytes)
{
    const struct comp_wit_func *func = interface->funcs;
    while (func && !is_text(func->name, name, bytes))
        func = func->next;
    return func;
}

static struct comp_wit_def *find_def(const struct comp_wit_interface *interface, const char *name,
                                     size_t bytes)
{
    struct comp_wit_def *def = interface->defs;
    while (def && !is_text(def->name, name, bytes))
        def = def->next;
    return def;
}

const struct comp_wit_def *comp_wit_find_def(const struct comp_wit_interface *interface,
                                             const char *name, size_t bytes)
{
    return find_def(interface, name, bytes);
}

const struct comp_wit_def *comp_wit_target(const struct comp_wit_def *def)
{
    while (def->kind == COMP_WIT_USE)
        def = def->target;
    return def;
}

/* ---- resolving ---------------------------------------------------------------------------- */

struct resolver {
    struct comp_wit *wit;
    struct report *report;
    uint32_t depth;
};

static enum err resolve_def(struct resolver *s, struct comp_wit_def *def);

/* The tree belongs to the set and is only const for its readers. */
static struct comp_wit_type *own_type(const struct comp_wit_type *type)
{
    return (struct comp_wit_type *)(uintptr_t)type;
}

static enum err resolve_type(struct resolver *s, const struct comp_wit_interface *interface,
                             struct comp_wit_type *type, uint32_t line)
{
    if (type->name) {
        type->def = find_def(interface, type->name, strlen(type->name));
        if (!type->def)
            return err_set(s->report, ERR_NOT_FOUND, "%s, line %u: %s has no type `%s`",
                           interface->file, line, interface->id, type->name);
        return resolve_def(s, type->def);
    }
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (!type->fields[i].type)
            continue;
        enum err err = resolve_type(s, interface, own_type(type->fields[i].type), line);
        if (err)
            return err;
    }
    if (type->kind != COMP_OWN && type->kind != COMP_BORROW)
        return ERR_OK;
    const struct comp_wit_def *def = type->fields[0].type->def;
    while (def && def->kind == COMP_WIT_USE)
        def = def->target;
    if (def && def->kind == COMP_WIT_ALIAS && def->type->name)
        def = comp_wit_target(def->type->def);
    if (!def || def->kind != COMP_WIT_RESOURCE)
        return err_set(s->report, ERR_INVALID, "%s, line %u: own<> and borrow<> are of a resource",
                       interface->file, line);
    return ERR_OK;
}

static enum err resolve_def(struct resolver *s, struct comp_wit_def *def)
{
    const struct comp_wit_interface *interface = def->interface;
    if (def->state == STATE_DONE)
        return ERR_OK;
    if (def->state == STATE_OPEN || s->depth >= COMP_WIT_DEPTH_MAX)
        return err_set(s->report, ERR_INVALID, "%s, line %u: `%s` contains itself or is too deep",
                       interface->file, def->line, def->name);
    def->state = STATE_OPEN;
    s->depth++;
    enum err err = ERR_OK;
    if (def->kind == COMP_WIT_USE) {
        const struct comp_wit_interface *from = comp_wit_find(s->wit, def->from, strlen(def->from));
        if (!from)
            return err_set(s->report, ERR_NOT_FOUND, "%s, line %u: there is no interface %s",
                           interface->file, def->line, def->from);
        def->target = find_def(from, def->from_name, strlen(def->from_name));
        if (!def->target)
            return err_set(s->report, ERR_NOT_FOUND, "%s, line %u: %s has no type `%s`",
                           interface->file, def->line, def->from, def->from_name);
        err = resolve_def(s, def->target);
    } else if (def->kind == COMP_WIT_ALIAS) {
        err = resolve_type(s, interface, def->type, def->line);
    }
    s->depth--;
    def->state = STATE_DONE;
    return err;
}

static bool has_world(const struct comp_wit *wit, const char *id)
{
    for (const struct comp_wit_package *p = wit->packages; p; p = p->next)
        for (const struct comp_wit_world *w = p->worlds; w; w = w->next)
            if (strcmp(w->id, id) == 0)
                return true;
    return false;
}

static enum err resolve_interface(struct resolver *s, struct comp_wit_interface *interface)
{
    for (struct comp_wit_def *def = interface->defs; def; def = def->next) {
        enum err err = resolve_def(s, def);
        if (err)
            return err;
    }
    for (struct comp_wit_func *func = interface->funcs; func; func = func->next) {
        for (uint32_t i = 0; i < func->param_count; i++) {
            enum err err = resolve_type(s, interface, own_type(func->params[i].type), 0);
            if (err)
                return err_prefix(s->report, "%s", func->name);
        }
        if (func->result && resolve_type(s, interface, own_type(func->result), 0))
            return err_prefix(s->report, "%s", func->name);
    }
    return ERR_OK;
}

enum err comp_wit_resolve(struct comp_wit *wit, struct report *report)
{
    struct report local = {0};
    struct resolver s = {.wit = wit, .report = report ? report : &local};
    for (struct comp_wit_package *p = wit->packages; p; p = p->next) {
        for (struct comp_wit_interface *i = p->interfaces; i; i = i->next) {
            enum err err = resolve_interface(&s, i);
            if (err)
                return err;
        }
        for (struct comp_wit_world *w = p->worlds; w; w = w->next)
            for (struct comp_wit_item *item = w->items; item; item = item->next)
                if (item->kind == COMP_WIT_INCLUDE ? !has_world(wit, item->name)
                                                   : !comp_wit_find(wit, item->name,
                                                                    strlen(item->name)))
                    return err_set(s.report, ERR_NOT_FOUND, "%s, line %u: there is no %s %s", w->file,
                                   item->line,
                                   item->kind == COMP_WIT_INCLUDE ? "world" : "interface",
                                   item->name);
    }
    wit->is_resolved = true;
    return ERR_OK;
}

/* ---- printing ----------------------------------------------------------------------------- */

struct printer {
    struct buf *out;
    const struct comp_wit_interface *interface; /* NULL: names are kept */
    size_t limit;
};

static void print_type(struct printer *p, const struct comp_wit_type *type);

static void print_resource(struct printer *p, const struct comp_wit_def *resource)
{
    if (resource->interface != p->interface) {
        const char *id = resource->interface->id;
        (void)buf_append(p->out, id, comp_name_base_bytes(id, strlen(id)));
        (void)buf_putc(p->out, '.');
    }
    (void)buf_puts(p->out, resource->name);
}

static void print_arguments(struct printer *p, const struct comp_wit_type *type)
{
    uint32_t count = type->field_count;
    if (type->kind == COMP_RESULT) {
        count = type->fields[1].type ? 2 : type->fields[0].type ? 1 : 0;
        if (count == 0)
            return;
    }
    (void)buf_putc(p->out, '<');
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            (void)buf_puts(p->out, ", ");
        if (type->fields[i].type)
            print_type(p, type->fields[i].type);
        else
            (void)buf_putc(p->out, '_');
    }
    (void)buf_putc(p->out, '>');
}

/* The definition's resource, NULL when it is none. */
static const struct comp_wit_def *resource_of(const struct comp_wit_def *def)
{
    def = comp_wit_target(def);
    while (def->kind == COMP_WIT_ALIAS && def->type->name)
        def = comp_wit_target(def->type->def);
    return def->kind == COMP_WIT_RESOURCE ? def : NULL;
}

static void print_named(struct printer *p, const struct comp_wit_type *type)
{
    if (!p->interface) {
        (void)buf_puts(p->out, type->name);
        return;
    }
    const struct comp_wit_def *resource = resource_of(type->def);
    if (resource) {
        (void)buf_puts(p->out, "own<");
        print_resource(p, resource);
        (void)buf_putc(p->out, '>');
    } else {
        print_type(p, comp_wit_target(type->def)->type);
    }
}

/* Ends: definitions do not contain themselves, and the limit bounds what doubling could make. */
static void print_type(struct printer *p, const struct comp_wit_type *type)
{
    if (p->out->count > p->limit)
        return;
    if (type->name) {
        print_named(p, type);
        return;
    }
    const char *word = "";
    for (size_t i = 0; i < WORD_COUNT; i++)
        if (words[i].kind == type->kind)
            word = words[i].name;
    (void)buf_puts(p->out, word);
    if (type->kind <= COMP_STRING)
        return;
    if ((type->kind == COMP_OWN || type->kind == COMP_BORROW) && p->interface) {
        (void)buf_putc(p->out, '<');
        print_resource(p, resource_of(type->fields[0].type->def));
        (void)buf_putc(p->out, '>');
        return;
    }
    if (type->kind == COMP_RECORD || type->kind == COMP_VARIANT || type->kind == COMP_ENUM ||
        type->kind == COMP_FLAGS) {
        (void)buf_puts(p->out, " { ");
        for (uint32_t i = 0; i < type->field_count; i++) {
            const struct comp_wit_field *field = &type->fields[i];
            (void)buf_printf(p->out, "%s%s", i ? ", " : "", field->name);
            if (!field->type)
                continue;
            (void)buf_puts(p->out, type->kind == COMP_RECORD ? ": " : "(");
            print_type(p, field->type);
            if (type->kind == COMP_VARIANT)
                (void)buf_putc(p->out, ')');
        }
        (void)buf_puts(p->out, " }");
        return;
    }
    print_arguments(p, type);
}

static void print_func(struct printer *p, const struct comp_wit_func *func)
{
    (void)buf_puts(p->out, "func(");
    for (uint32_t i = 0; i < func->param_count; i++) {
        (void)buf_printf(p->out, "%s%s: ", i ? ", " : "", func->params[i].name);
        print_type(p, func->params[i].type);
    }
    (void)buf_putc(p->out, ')');
    if (func->result) {
        (void)buf_puts(p->out, " -> ");
        print_type(p, func->result);
    }
}

enum err comp_wit_print_flat(struct buf *out, const struct comp_wit_interface *interface,
                             const struct comp_wit_func *func, struct report *report)
{
    struct printer p = {out, interface, out->count + COMP_WIT_FLAT_BYTES_MAX};
    print_func(&p, func);
    if (out->failed)
        return err_set(report, ERR_MEMORY, "no memory for the type of %s", func->name);
    if (out->count > p.limit)
        return err_set(report, ERR_LIMIT, "the type of %s of %s is too large", func->name,
                       interface->id);
    return ERR_OK;
}

void comp_wit_print(struct buf *out, const struct comp_wit_type *type)
{
    struct printer p = {out, NULL, SIZE_MAX};
    print_type(&p, type);
}

/* ---- the reference ------------------------------------------------------------------------ */

/* Doc comments are Markdown already; " - " items put theirs on one line. */
static void describe_line(struct buf *out, const char *doc)
{
    for (; *doc; doc++)
        (void)buf_putc(out, *doc == '\n' ? ' ' : *doc);
}

static void describe_def(struct buf *out, const struct comp_wit_def *def)
{
    if (def->kind == COMP_WIT_USE)
        return;
    (void)buf_printf(out, "- %s `%s`", def->kind == COMP_WIT_RESOURCE ? "resource" : "type", def->name);
    bool has_cases = false;
    if (def->kind == COMP_WIT_ALIAS) {
        (void)buf_puts(out, " = `");
        comp_wit_print(out, def->type);
        (void)buf_putc(out, '`');
        for (uint32_t i = 0; !def->type->name && i < def->type->field_count; i++)
            has_cases |= def->type->fields[i].doc && def->type->fields[i].doc[0];
    }
    if (def->doc[0]) {
        (void)buf_puts(out, ": ");
        describe_line(out, def->doc);
    }
    (void)buf_putc(out, '\n');
    for (uint32_t i = 0; has_cases && i < def->type->field_count; i++) {
        const struct comp_wit_field *field = &def->type->fields[i];
        if (!field->doc[0])
            continue;
        (void)buf_printf(out, "  - `%s`: ", field->name);
        describe_line(out, field->doc);
        (void)buf_putc(out, '\n');
    }
}

bool comp_wit_describe(struct buf *out, const struct comp_wit *wit, const char *prefix)
{
    for (const struct comp_wit_package *p = wit->packages; p; p = p->next) {
        if (strncmp(p->name, prefix, strlen(prefix)) != 0)
            continue;
        (void)buf_printf(out, "# %s%s%s\n\n", p->name, p->version[0] ? "@" : "", p->version);
        if (p->doc[0])
            (void)buf_printf(out, "%s\n\n", p->doc);
        for (const struct comp_wit_interface *i = p->interfaces; i; i = i->next) {
            (void)buf_printf(out, "## %s\n\n", i->id);
            if (i->doc[0])
                (void)buf_printf(out, "%s\n\n", i->doc);
            for (const struct comp_wit_def *def = i->defs; def; def = def->next)
                describe_def(out, def);
            struct printer printer = {out, NULL, SIZE_MAX};
            for (const struct comp_wit_func *func = i->funcs; func; func = func->next) {
                (void)buf_printf(out, "- `%s`: `", func->name);
                print_func(&printer, func);
                (void)buf_putc(out, '`');
                if (func->doc[0]) {
                    (void)buf_puts(out, ". ");
                    describe_line(out, func->doc);
                }
                (void)buf_putc(out, '\n');
            }
            (void)buf_putc(out, '\n');
        }
    }
    return !out->failed;
}
