#include "engine/text/split.h"

#include <stdint.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/unicode_table.h"

/* The end of the match that begins at `at`, or `at` when none does. Looks at text[at, end) only;
 * at < end. */
typedef size_t (*match_fn)(const char *text, size_t at, size_t end);

#define STAGES_MAX 6

struct tok_split {
    const char *expression;
    match_fn stages[STAGES_MAX + 1]; /* ends with NULL */
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Class bits of the character at `at`, and where the next one begins. */
ALWAYS_INLINE unsigned class_at(const char *text, size_t at, size_t end, size_t *next)
{
    unsigned char byte = (unsigned char)text[at];
    if (byte < 0x80) {
        *next = at + 1;
        return tok_unicode_pages[0][byte];
    }
    size_t to = at;
    uint32_t point = utf8_next(text, end, &to);
    *next = to;
    return tok_unicode_class(point);
}

/* End of the longest run of characters that have (`want`) or have not any of the class bits. */
ALWAYS_INLINE size_t run(const char *text, size_t at, size_t end, unsigned bits, bool want)
{
    while (at < end) {
        size_t next;
        if (((class_at(text, at, end, &next) & bits) != 0) != want)
            break;
        at = next;
    }
    return at;
}

/* \s+(?!\S)|\s+ over a run of white space: all but its last character when more text follows. */
ALWAYS_INLINE size_t match_spaces(const char *text, size_t at, size_t end)
{
    size_t last = at;
    size_t to = at;
    while (to < end) {
        size_t next;
        if (!(class_at(text, to, end, &next) & TOK_SPACE))
            return last > at ? last : to;
        last = to;
        to = next;
    }
    return to;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ */
ALWAYS_INLINE size_t match_lines(const char *text, size_t at, size_t end)
{
    size_t last = at;
    size_t to = at;
    size_t after_newline = at;
    while (to < end) {
        size_t next;
        if (!(class_at(text, to, end, &next) & TOK_SPACE))
            break;
        if (text[to] == '\n' || text[to] == '\r')
            after_newline = next;
        last = to;
        to = next;
    }
    if (after_newline > at)
        return after_newline;
    return to == end || last == at ? to : last;
}

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* 's|'t|'re|'ve|'m|'ll|'d ; without regard to case also U+017F, which folds to s. */
ALWAYS_INLINE size_t match_contraction(const char *text, size_t at, size_t end, bool any_case)
{
    if (end - at < 2 || text[at] != '\'')
        return at;
    char a = any_case ? ascii_lower(text[at + 1]) : text[at + 1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return at + 2;
    if (end - at < 3)
        return at;
    char b = any_case ? ascii_lower(text[at + 2]) : text[at + 2];
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return at + 3;
    if (any_case && memcmp(text + at + 1, "\xC5\xBF", 2) == 0)
        return at + 3;
    return at;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t match_gpt2(const char *text, size_t at, size_t end)
{
    if (text[at] == '\'') {
        size_t to = match_contraction(text, at, end, false);
        if (to > at)
            return to;
    }
    size_t from = at + (text[at] == ' ' && at + 1 < end ? 1 : 0);
    size_t next;
    unsigned bits = class_at(text, from, end, &next);
    if (bits & TOK_LETTER)
        return run(text, next, end, TOK_LETTER, true);
    if (bits & TOK_NUMBER)
        return run(text, next, end, TOK_NUMBER, true);
    if (!(bits & TOK_SPACE))
        return run(text, next, end, TOK_SPACE | TOK_LETTER | TOK_NUMBER, false);
    return match_spaces(text, at, end);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?W+|\p{N}{1,digits}| ?[^\sW\p{N}]+[\r\n]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+ where W is `letters`: \p{L} or [\p{L}\p{M}]. */
ALWAYS_INLINE size_t match_llama3_like(const char *text, size_t at, size_t end, int digits,
                                       unsigned letters)
{
    char first = text[at];
    if (first == '\'') {
        size_t to = match_contraction(text, at, end, true);
        if (to > at)
            return to;
    }
    size_t next;
    unsigned bits = class_at(text, at, end, &next);
    if (bits & letters)
        return run(text, next, end, letters, true);
    if (bits & TOK_NUMBER) {
        while (--digits > 0 && next < end) {
            size_t after;
            if (!(class_at(text, next, end, &after) & TOK_NUMBER))
                break;
            next = after;
        }
        return next;
    }
    if (first != '\r' && first != '\n' && next < end) {
        size_t after;
        unsigned second = class_at(text, next, end, &after);
        if (second & letters)
            return run(text, after, end, letters, true);
        if (first == ' ' && !(second & (TOK_SPACE | TOK_NUMBER))) {
            bits = second;
            next = after;
        }
    }
    if (!(bits & TOK_SPACE)) {
        size_t to = run(text, next, end, TOK_SPACE | letters | TOK_NUMBER, false);
        while (to < end && (text[to] == '\r' || text[to] == '\n'))
            to++;
        return to;
    }
    return match_lines(text, at, end);
}

static size_t match_llama3(const char *text, size_t at, size_t end)
{
    return match_llama3_like(text, at, end, 3, TOK_LETTER);
}

static size_t match_qwen2(const char *text, size_t at, size_t end)
{
    return match_llama3_like(text, at, end, 1, TOK_LETTER);
}

static size_t match_qwen35(const char *text, size_t at, size_t end)
{
    return match_llama3_like(text, at, end, 1, TOK_LETTER | TOK_MARK);
}

/* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and [\p{Ll}\p{Lm}\p{Lo}\p{M}] */
static bool is_upper_like(unsigned bits)
{
    return (bits & (TOK_LETTER | TOK_MARK)) && !(bits & TOK_LOWER);
}

static bool is_lower_like(unsigned bits)
{
    return (bits & (TOK_LETTER | TOK_MARK)) && !(bits & TOK_UPPER);
}

/* U*D+ from `at` when `lower` is true, else U+D*; `at` when it does not match. A greedy U* that
 * leaves nothing for D+ gives back up to the last character that is both. */
static size_t match_cased(const char *text, size_t at, size_t end, bool lower)
{
    size_t to = at;
    size_t after_both = at;
    while (to < end) {
        size_t next;
        unsigned bits = class_at(text, to, end, &next);
        if (!is_upper_like(bits))
            break;
        to = next;
        if (is_lower_like(bits))
            after_both = next;
    }
    size_t tail = to;
    while (tail < end) {
        size_t next;
        if (!is_lower_like(class_at(text, tail, end, &next)))
            break;
        tail = next;
    }
    if (lower)
        return tail > to ? tail : after_both;
    return to > at ? tail : at;
}

/* X?U*D+C?|X?U+D*C?|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ with
 * X = [^\r\n\p{L}\p{N}] and C the contractions (when `contractions`). */
ALWAYS_INLINE size_t match_cased_words(const char *text, size_t at, size_t end, int digits,
                                       bool contractions)
{
    char first = text[at];
    size_t next;
    unsigned bits = class_at(text, at, end, &next);
    bool lead = !(bits & (TOK_LETTER | TOK_NUMBER)) && first != '\r' && first != '\n';
    for (int lower = 1; lower >= 0; lower--) {
        size_t to = lead ? match_cased(text, next, end, lower) : next;
        if (to == next)
            to = match_cased(text, at, end, lower);
        if (to > at && (to > next || (bits & (TOK_LETTER | TOK_MARK))))
            return contractions && to < end ? match_contraction(text, to, end, true) : to;
    }
    if (bits & TOK_NUMBER) {
        while (--digits > 0 && next < end) {
            size_t after;
            if (!(class_at(text, next, end, &after) & TOK_NUMBER))
                break;
            next = after;
        }
        return next;
    }
    if (first == ' ' && next < end) {
        size_t after;
        unsigned second = class_at(text, next, end, &after);
        if (!(second & (TOK_SPACE | TOK_LETTER | TOK_NUMBER))) {
            bits = second;
            next = after;
        }
    }
    if (!(bits & TOK_SPACE)) {
        size_t to = run(text, next, end, TOK_SPACE | TOK_LETTER | TOK_NUMBER, false);
        while (to < end && (text[to] == '\r' || text[to] == '\n' || text[to] == '/'))
            to++;
        return to;
    }
    return match_lines(text, at, end);
}

static size_t match_tekken(const char *text, size_t at, size_t end)
{
    return match_cased_words(text, at, end, 1, false);
}

static size_t match_gpt4o(const char *text, size_t at, size_t end)
{
    return match_cased_words(text, at, end, 3, true);
}

/* \p{N} */
static size_t match_number(const char *text, size_t at, size_t end)
{
    size_t next;
    return class_at(text, at, end, &next) & TOK_NUMBER ? next : at;
}

/* \p{N}+ */
static size_t match_numbers(const char *text, size_t at, size_t end)
{
    return run(text, at, end, TOK_NUMBER, true);
}

/* \p{N}{1,3} */
static size_t match_numbers3(const char *text, size_t at, size_t end)
{
    for (int count = 0; count < 3 && at < end; count++) {
        size_t to = match_number(text, at, end);
        if (to == at)
            break;
        at = to;
    }
    return at;
}

/* [0-9][0-9][0-9] */
static size_t match_three_digits(const char *text, size_t at, size_t end)
{
    if (end - at < 3)
        return at;
    for (size_t i = at; i < at + 3; i++)
        if (text[i] < '0' || text[i] > '9')
            return at;
    return at + 3;
}

/* [\p{P}\$\+<=>\^~\|]+ and, for Falcon, also ` */
ALWAYS_INLINE size_t match_marks(const char *text, size_t at, size_t end, const char *more)
{
    while (at < end) {
        size_t next;
        unsigned bits = class_at(text, at, end, &next);
        if (!(bits & TOK_PUNCTUATION) && (text[at] == '\0' || !strchr(more, text[at])))
            break;
        at = next;
    }
    return at;
}

static size_t match_default_marks(const char *text, size_t at, size_t end)
{
    return match_marks(text, at, end, "$+<=>^~|");
}

static size_t match_falcon_marks(const char *text, size_t at, size_t end)
{
    return match_marks(text, at, end, "$+<=>^~|`");
}

/* [\r\n] */
static size_t match_newline(const char *text, size_t at, size_t end)
{
    (void)end;
    return text[at] == '\r' || text[at] == '\n' ? at + 1 : at;
}

/* \s?C+ where C is any of the class bits. */
ALWAYS_INLINE size_t match_spaced(const char *text, size_t at, size_t end, unsigned bits)
{
    size_t next = at;
    size_t from = class_at(text, at, end, &next) & TOK_SPACE ? next : at;
    size_t to = run(text, from, end, bits, true);
    return to > from ? to : at;
}

static size_t match_spaced_letters(const char *text, size_t at, size_t end)
{
    return match_spaced(text, at, end, TOK_LETTER);
}

static size_t match_spaced_punctuation(const char *text, size_t at, size_t end)
{
    return match_spaced(text, at, end, TOK_PUNCTUATION);
}

struct range {
    uint32_t first, last;
};

static bool in_ranges(uint32_t point, const struct range *ranges, size_t count)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (point > ranges[middle].last)
            low = middle + 1;
        else
            count = middle;
    }
    return point >= ranges[low].first && point <= ranges[low].last;
}

/* C+, or \s?C+, where C is a sorted list of ranges; the last range is a sentinel that holds no
 * character. */
static size_t match_ranges(const char *text, size_t at, size_t end, bool spaced,
                           const struct range *ranges, size_t count)
{
    size_t from = at;
    size_t next;
    if (spaced && class_at(text, at, end, &next) & TOK_SPACE)
        from = next;
    for (;;) {
        size_t to = from;
        while (to < end) {
            next = to;
            if (!in_ranges(utf8_next(text, end, &next), ranges, count))
                break;
            to = next;
        }
        if (to > from || from == at)
            return to;
        from = at; /* the space may belong to C itself */
    }
}

#define SENTINEL {0x110000, 0x110000}

/* [一-龥ࠀ-一가-퟿]+ */
static size_t match_deepseek_cjk(const char *text, size_t at, size_t end)
{
    static const struct range ranges[] = {{0x800, 0x9FA5}, {0xAC00, 0xD7FF}, SENTINEL};
    return match_ranges(text, at, end, false, ranges, 2);
}

/* [一-龥぀-ゟ゠-ヿ]+ */
static size_t match_deepseek3_cjk(const char *text, size_t at, size_t end)
{
    static const struct range ranges[] = {{0x3040, 0x30FF}, {0x4E00, 0x9FA5}, SENTINEL};
    return match_ranges(text, at, end, false, ranges, 2);
}

/* \s?[...]+ : the bicameral scripts, as the tokenizer lists them. */
static size_t match_deepseek_letters(const char *text, size_t at, size_t end)
{
    static const struct range ranges[] = {
        {0x41, 0x5A},       {0x61, 0x7A},       {0xB5, 0xB5},       {0xC0, 0xD6},
        {0xD8, 0xF6},       {0xF8, 0x1BA},      {0x1BC, 0x1BF},     {0x1C4, 0x293},
        {0x295, 0x2AF},     {0x370, 0x373},     {0x376, 0x377},     {0x37B, 0x37D},
        {0x37F, 0x37F},     {0x386, 0x386},     {0x388, 0x38A},     {0x38C, 0x38C},
        {0x38E, 0x3A1},     {0x3A3, 0x3F5},     {0x3F7, 0x481},     {0x48A, 0x52F},
        {0x531, 0x556},     {0x10A0, 0x10C5},   {0x13A0, 0x13F5},   {0x13F8, 0x13FD},
        {0x1C90, 0x1CBA},   {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},   {0x1D6B, 0x1D77},
        {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},   {0x1F20, 0x1F45},
        {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},   {0x1F5B, 0x1F5B},
        {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},   {0x1FB6, 0x1FBC},
        {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},   {0x1FD0, 0x1FD3},
        {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},   {0x1FF6, 0x1FFC},
        {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210A, 0x2113},   {0x2115, 0x2115},
        {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
        {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},   {0x213C, 0x213F},
        {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2184},   {0x2C00, 0x2C7B},
        {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},   {0x2CF2, 0x2CF3},   {0xA640, 0xA66D},
        {0xA680, 0xA69B},   {0xA722, 0xA76F},   {0xA771, 0xA787},   {0xA78B, 0xA78E},
        {0xAB70, 0xABBF},   {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},
        {0xFF41, 0xFF5A},   {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB},
        {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
        SENTINEL,
    };
    return match_ranges(text, at, end, true, ranges, sizeof ranges / sizeof *ranges - 1);
}

/* \s?[!-/:-~！-／：-～‘-‟　-。]+ ; the second range holds the ASCII letters too */
static size_t match_deepseek_marks(const char *text, size_t at, size_t end)
{
    static const struct range ranges[] = {{0x21, 0x2F},     {0x3A, 0x7E},     {0x2018, 0x201F},
                                          {0x3000, 0x3002}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E},
                                          SENTINEL};
    return match_ranges(text, at, end, true, ranges, 6);
}

/* \s+$ : matches where the text's last run of white space begins, and only there. The driver calls
 * it at that place alone: to ask at every character would be quadratic. */
static size_t match_last_spaces(const char *text, size_t at, size_t end)
{
    return run(text, at, end, TOK_SPACE, true);
}

static size_t last_spaces(const char *text, size_t at, size_t end)
{
    size_t from = at;
    while (at < end) {
        size_t next;
        if (!(class_at(text, at, end, &next) & TOK_SPACE))
            from = next;
        at = next;
    }
    return from;
}

/* [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
 *  ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t match_deepseek3(const char *text, size_t at, size_t end)
{
    char first = text[at];
    size_t next;
    unsigned bits = class_at(text, at, end, &next);
    if (first > ' ' && first < 0x7F && (bits & (TOK_PUNCTUATION | TOK_SYMBOL))) {
        size_t to = next;
        while (to < end && ascii_lower(text[to]) >= 'a' && ascii_lower(text[to]) <= 'z')
            to++;
        if (to > next)
            return to;
    }
    if (bits & TOK_LETTER)
        return run(text, next, end, TOK_LETTER | TOK_MARK, true);
    if (!(bits & (TOK_PUNCTUATION | TOK_SYMBOL)) && first != '\r' && first != '\n') {
        size_t to = run(text, next, end, TOK_LETTER | TOK_MARK, true);
        if (to > next || (bits & TOK_MARK))
            return to;
    }
    size_t from = at + (first == ' ' ? 1 : 0);
    size_t to = run(text, from, end, TOK_PUNCTUATION | TOK_SYMBOL, true);
    if (to > from) {
        while (to < end && (text[to] == '\r' || text[to] == '\n'))
            to++;
        return to;
    }
    return bits & TOK_SPACE ? match_lines(text, at, end) : at;
}

#define EXPRESSION_GPT2                                                                            \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define EXPRESSION_LINES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define EXPRESSION_LLAMA3(letters, digits)                                                         \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[" letters "]+|\\p{N}" digits              \
    "| ?[^\\s" letters "\\p{N}]+[\\r\\n]*|" EXPRESSION_LINES
#define EXPRESSION_CASED(suffix, digits)                                                           \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*"                                  \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" suffix                                                        \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"                                 \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" suffix "|\\p{N}" digits                                       \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" EXPRESSION_LINES
#define EXPRESSION_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

static const struct tok_split split_default = {
    "[\\p{P}\\$\\+<=>\\^~\\|]+\n" EXPRESSION_GPT2 "\n\\p{N}+\n[0-9][0-9][0-9]",
    {match_default_marks, match_gpt2, match_numbers, match_three_digits},
};
static const struct tok_split split_gpt2 = {EXPRESSION_GPT2, {match_gpt2}};
static const struct tok_split split_llama3 = {EXPRESSION_LLAMA3("\\p{L}", "{1,3}"), {match_llama3}};
static const struct tok_split split_qwen2 = {EXPRESSION_LLAMA3("\\p{L}", ""), {match_qwen2}};
static const struct tok_split split_qwen35 = {EXPRESSION_LLAMA3("\\p{L}\\p{M}", ""),
                                              {match_qwen35}};
static const struct tok_split split_tekken = {EXPRESSION_CASED("", ""), {match_tekken}};
static const struct tok_split split_gpt4o = {EXPRESSION_CASED(EXPRESSION_CONTRACTIONS, "{1,3}"),
                                             {match_gpt4o}};
static const struct tok_split split_digits_gpt2 = {"\\p{N}\n" EXPRESSION_GPT2,
                                                   {match_number, match_gpt2}};
static const struct tok_split split_falcon = {
    "[\\p{P}\\$\\+<=>\\^~\\|`]+\n" EXPRESSION_GPT2 "\n[0-9][0-9][0-9]",
    {match_falcon_marks, match_gpt2, match_three_digits},
};
static const struct tok_split split_deepseek_llm = {
    "[\\r\\n]\n\\s?["
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽ"
    "Ა-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴ"
    "ῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆ"
    "ﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
    "]+\n"
    "\\s?[!-/:-~！-／：-～‘-‟　-。]+\n\\s+$\n[一-龥ࠀ-一가-퟿]+\n\\p{N}+",
    {match_newline, match_deepseek_letters, match_deepseek_marks, match_last_spaces,
     match_deepseek_cjk, match_numbers},
};
static const struct tok_split split_deepseek_coder = {
    "[\\r\\n]\n\\s?\\p{L}+\n\\s?\\p{P}+\n[一-龥ࠀ-一가-퟿]+\n\\p{N}",
    {match_newline, match_spaced_letters, match_spaced_punctuation, match_deepseek_cjk,
     match_number},
};
static const struct tok_split split_deepseek3 = {
    "\\p{N}{1,3}\n[一-龥぀-ゟ゠-ヿ]+\n"
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
    "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" EXPRESSION_LINES,
    {match_numbers3, match_deepseek3_cjk, match_deepseek3},
};

static const struct tok_pre pres[] = {
    {"default", &split_default, false, false},
    {"gpt-2", &split_gpt2, false, false},
    {"phi-2", &split_gpt2, false, false},
    {"jina-es", &split_gpt2, false, false},
    {"jina-de", &split_gpt2, false, false},
    {"gigachat", &split_gpt2, false, false},
    {"jina-v1-en", &split_gpt2, false, false},
    {"roberta-bpe", &split_gpt2, false, false},
    {"mpt", &split_gpt2, false, false},
    {"olmo", &split_gpt2, false, false},
    {"jais", &split_gpt2, false, false},
    {"trillion", &split_gpt2, false, false},
    {"llama-bpe", &split_llama3, true, true},
    {"llama3", &split_llama3, true, true},
    {"llama-v3", &split_llama3, true, true},
    {"falcon3", &split_llama3, true, true},
    {"pixtral", &split_llama3, true, true},
    {"dbrx", &split_llama3, false, false},
    {"smaug-bpe", &split_llama3, false, false},
    {"glm4", &split_llama3, false, false},
    {"chatglm-bpe", &split_llama3, false, false},
    {"qwen2", &split_qwen2, false, false},
    {"deepseek-r1-qwen", &split_qwen2, false, false},
    {"stablelm2", &split_qwen2, false, false},
    {"megrez", &split_qwen2, false, false},
    {"qwen35", &split_qwen35, false, false},
    {"tekken", &split_tekken, true, true},
    {"gpt-4o", &split_gpt4o, false, false},
    {"llama4", &split_gpt4o, false, false},
    {"starcoder", &split_digits_gpt2, false, false},
    {"refact", &split_digits_gpt2, false, false},
    {"command-r", &split_digits_gpt2, false, false},
    {"smollm", &split_digits_gpt2, false, false},
    {"codeshell", &split_digits_gpt2, false, false},
    {"exaone", &split_digits_gpt2, false, false},
    {"minerva-7b", &split_digits_gpt2, false, false},
    {"falcon", &split_falcon, false, false},
    {"deepseek-llm", &split_deepseek_llm, false, false},
    {"deepseek-coder", &split_deepseek_coder, false, false},
    {"deepseek-v3", &split_deepseek3, false, false},
};

const struct tok_pre *tok_pre_find(const char *name, size_t bytes)
{
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        if (strlen(pres[i].name) == bytes && memcmp(pres[i].name, name, bytes) == 0)
            return &pres[i];
    return NULL;
}

const char *tok_split_expression(const struct tok_split *split)
{
    return split->expression;
}

struct run_state {
    const struct tok_split *split;
    const char *text;
    tok_split_word word;
    void *user;
};

static bool run_stage(const struct run_state *state, unsigned stage, size_t from, size_t end);

static bool pass_on(const struct run_state *state, unsigned stage, size_t from, size_t to)
{
    if (state->split->stages[stage + 1])
        return run_stage(state, stage + 1, from, to);
    return state->word(state->user, state->text, from, to);
}

/* Depth is bounded by STAGES_MAX. */
static bool run_stage(const struct run_state *state, unsigned stage, size_t from, size_t end)
{
    match_fn match = state->split->stages[stage];
    const char *text = state->text;
    size_t at = from; /* text[from, at) is a gap: no match begins in it */
    if (match == match_last_spaces)
        at = last_spaces(text, from, end);
    while (at < end) {
        size_t to = match(text, at, end);
        if (to == at) {
            size_t skip;
            (void)class_at(text, at, end, &skip);
            at = skip;
            continue;
        }
        if (at > from && !pass_on(state, stage, from, at))
            return false;
        if (!pass_on(state, stage, at, to))
            return false;
        from = at = to;
    }
    return from == end || pass_on(state, stage, from, end);
}

bool tok_split_run(const struct tok_split *split, const char *text, size_t bytes,
                   tok_split_word word, void *user)
{
    struct run_state state = {split, text, word, user};
    return run_stage(&state, 0, 0, bytes);
}
