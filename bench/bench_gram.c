/* links: engine/grammar
 * Time of grammar masks per token on one thread with the 128k vocabulary of Llama 3: compile time,
 * and masks along sample texts: average, p99 and the slowest, first on a cold cache, then warm. */
#include <stdio.h>
#include <time.h>

#include "engine/grammar/gram.h"
#include "tests/vectors/tokenizer/vocab.h"

enum kind { SCHEMA, REGEX, EBNF };

static const struct {
    const char *name;
    enum kind kind;
    const char *source, *text;
} cases[] = {
    {"any json", SCHEMA, "true",
     "{\"name\": \"Ada Lovelace\", \"born\": 1815, \"fields\": [\"mathematics\", \"computing\"], "
     "\"notes\": "
     "\"Wrote what is often called the first program; translated Menabrea's memoir on the "
     "Analytical "
     "Engine.\", \"nested\": {\"a\": {\"b\": {\"c\": [1, 2.5, -3e10, true, false, null, "
     "\"\\u00e9t\\u00e9\"]}}}}"},
    {"person", SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
     "\"integer\",\"minimum\":0,"
     "\"maximum\":150},\"email\":{\"type\":\"string\",\"format\":\"email\"},\"tags\":{\"type\":"
     "\"array\",\"items\":"
     "{\"enum\":[\"red\",\"green\",\"blue\"]}},\"address\":{\"type\":\"object\",\"properties\":{"
     "\"street\":{\"type\":"
     "\"string\"},\"city\":{\"type\":\"string\"},\"zip\":{\"type\":\"string\",\"pattern\":\"^[0-9]{"
     "5}$\"}},\"required\":"
     "[\"street\",\"city\"]}},\"required\":[\"name\",\"age\",\"address\"]}",
     "{\"name\": \"John Q. Public\", \"age\": 42, \"email\": \"john.public@example.org\", "
     "\"tags\": [\"red\", \"blue\"], "
     "\"address\": {\"street\": \"12 Long Winding Road\", \"city\": \"Springfield\", \"zip\": "
     "\"12345\"}}"},
    {"max length", SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"title\":{\"type\":\"string\",\"maxLength\":60},"
     "\"body\":{\"type\":\"string\","
     "\"minLength\":10,\"maxLength\":400}},\"required\":[\"title\",\"body\"]}",
     "{\"title\": \"How the tide turned in the north\", \"body\": \"It was late in the year when "
     "the ships came back, "
     "and nobody on the quay could say who had sent for them; the harbour master wrote their names "
     "down.\"}"},
    {"regex", REGEX, "[A-Z][a-z]+( [a-z]+)*[.!?]",
     "The quick brown fox jumps over the lazy dog while nobody looks."},
    {"lines", REGEX, "(- .{1,80}\\n)+",
     "- The quick brown fox jumps.\n- It's \"over\" the lazy dog: 42%!\n"},
    {"arithmetic", EBNF,
     "root ::= sum\nsum ::= product ((\"+\" | \"-\") product)*\nproduct ::= atom ((\"*\" | \"/\") "
     "atom)*\n"
     "atom ::= [0-9]+ | \"(\" sum \")\"",
     "(1+2)*(3+4*(5-6))/7+8*9-(10+(11-12)*(13/14))"},
};

/* Of this thread, so that other work on the machine does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void along(struct gram_matcher *matcher, const struct tok_ids *ids, uint64_t *times)
{
    struct report report = {0};
    const uint32_t *brle;
    size_t count;
    for (size_t i = 0; i < ids->count; i++) {
        uint64_t from = cpu_ns();
        CHECK(gram_matcher_mask(matcher, &brle, &count, &report) == ERR_OK);
        times[i] = cpu_ns() - from;
        CHECK(gram_matcher_accept(matcher, ids->items[i], &report) == ERR_OK);
    }
}

static void print_times(const char *name, const char *state, uint64_t *times, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += times[i];
    qsort(times, count, sizeof *times, by_value);
    (void)printf(
        "%-12s %-5s %5zu tokens  average %8.1f us  p50 %8.1f us  p99 %8.1f us  slowest %8.1f us\n",
        name, state, count, (double)sum / 1e3 / (double)count, (double)times[count / 2] / 1e3,
        (double)times[count - 1 - count / 100] / 1e3, (double)times[count - 1] / 1e3);
}

int main(void)
{
    struct report report = {0};
    struct gram_vocab *vocab;
    struct tok *tok = vocab_open("llama-bpe");
    uint32_t eot = tok_eot(tok);
    uint64_t from = cpu_ns();
    static uint64_t all[100000];
    size_t all_count = 0;
    CHECK(gram_vocab_create(tok, &vocab, &report) == ERR_OK);
    (void)printf("vocabulary: %.1f ms\n", (double)(cpu_ns() - from) / 1e6);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gram *gram;
        struct gram_matcher *matcher;
        struct tok_ids ids = {0};
        size_t bytes = strlen(cases[i].source);
        from = cpu_ns();
        enum err err =
            cases[i].kind == SCHEMA  ? gram_from_json_schema(cases[i].source, bytes, &gram, &report)
            : cases[i].kind == REGEX ? gram_from_regex(cases[i].source, bytes, &gram, &report)
                                     : gram_from_ebnf(cases[i].source, bytes, &gram, &report);
        CHECK(err == ERR_OK);
        (void)printf("%-12s compile %.2f ms\n", cases[i].name, (double)(cpu_ns() - from) / 1e6);
        CHECK(tok_encode(tok, cases[i].text, strlen(cases[i].text), 0, &ids, &report) == ERR_OK);
        uint64_t *times = calloc(ids.count, sizeof *times);
        CHECK(times &&
              gram_matcher_create(gram, vocab, &eot, 1, NULL, &matcher, &report) == ERR_OK);
        along(matcher, &ids, times);
        memcpy(all + all_count, times, ids.count * sizeof *times);
        all_count += ids.count;
        print_times(cases[i].name, "cold", times, ids.count);
        gram_matcher_reset(matcher);
        along(matcher, &ids, times);
        print_times(cases[i].name, "warm", times, ids.count);
        free(times);
        gram_matcher_destroy(matcher);
        gram_unref(gram);
        tok_ids_deinit(&ids);
    }
    print_times("all", "cold", all, all_count);
    gram_vocab_unref(vocab);
    tok_destroy(tok);
    return 0;
}
