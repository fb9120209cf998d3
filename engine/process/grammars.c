#include "engine/process/grammars.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/grammar/gram.h"

void proc_grammars_deinit(struct proc_grammars *grammars)
{
    for (size_t i = 0; i < PROC_GRAMMARS; i++) {
        gram_unref(grammars->entries[i].gram);
        mem_free(NULL, grammars->entries[i].text);
    }
    gram_vocab_unref(grammars->vocab);
    *grammars = (struct proc_grammars){0};
}

static enum err compile(enum proc_grammar_kind kind, const char *text, size_t bytes,
                        struct gram **gram, struct report *report)
{
    switch (kind) {
    case PROC_GRAMMAR_JSON: return gram_json(gram, report);
    case PROC_GRAMMAR_JSON_SCHEMA: return gram_from_json_schema(text, bytes, gram, report);
    case PROC_GRAMMAR_REGEX: return gram_from_regex(text, bytes, gram, report);
    case PROC_GRAMMAR_EBNF: break;
    }
    return gram_from_ebnf(text, bytes, gram, report);
}

enum err proc_grammars_get(struct proc_grammars *grammars, enum proc_grammar_kind kind,
                           const char *text, size_t bytes, struct gram **gram,
                           struct report *report)
{
    size_t oldest = 0;
    for (size_t i = 0; i < PROC_GRAMMARS; i++) {
        if (grammars->entries[i].gram != NULL && grammars->entries[i].kind == kind &&
            grammars->entries[i].bytes == bytes &&
            (bytes == 0 || memcmp(grammars->entries[i].text, text, bytes) == 0)) {
            grammars->entries[i].used = ++grammars->clock;
            *gram = gram_ref(grammars->entries[i].gram);
            return ERR_OK;
        }
        if (grammars->entries[i].used < grammars->entries[oldest].used)
            oldest = i;
    }
    enum err err = compile(kind, text, bytes, gram, report);
    if (err != ERR_OK)
        return err;
    char *copy = mem_strdup(NULL, bytes != 0 ? text : "", bytes);
    if (copy == NULL)
        return ERR_OK; /* it is only not remembered */
    gram_unref(grammars->entries[oldest].gram);
    mem_free(NULL, grammars->entries[oldest].text);
    grammars->entries[oldest].gram = gram_ref(*gram);
    grammars->entries[oldest].kind = kind;
    grammars->entries[oldest].text = copy;
    grammars->entries[oldest].bytes = bytes;
    grammars->entries[oldest].used = ++grammars->clock;
    return ERR_OK;
}

enum err proc_grammars_vocab(struct proc_grammars *grammars, const struct tok *tok,
                             struct gram_vocab **vocab, struct report *report)
{
    if (grammars->vocab == NULL) {
        enum err err = gram_vocab_create(tok, &grammars->vocab, report);
        if (err != ERR_OK) {
            grammars->vocab = NULL;
            return err;
        }
    }
    *vocab = grammars->vocab;
    return ERR_OK;
}
