/* links: cli
 *
 * The folding rules of `pie run`, each row of the interface's table and its edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/fold.h"

static void expect(const char *json, ...)
{
    char *words[16];
    size_t count = 0;
    va_list args;
    struct buf buf;
    va_start(args, json);
    for (char *word; (word = va_arg(args, char *));)
        words[count++] = word;
    va_end(args);
    buf_init(&buf, NULL);
    assert_true(fold_words(words, count, &buf));
    assert_string_equal(buf.data, json);
    buf_deinit(&buf);
}

#define EXPECT(json, ...) expect(json, __VA_ARGS__ __VA_OPT__(, ) NULL)

static void long_flags(void **state)
{
    (void)state;
    expect("{}", NULL);
    EXPECT("{\"prompt\":\"hi there\"}", "--prompt", "hi there");
    EXPECT("{\"max_tokens\":5}", "--max-tokens", "5");
    EXPECT("{\"verbose\":true}", "--verbose");
    EXPECT("{\"a\":true,\"b\":1}", "--a", "--b", "1");
    EXPECT("{\"key=value\":true}", "--key=value");
    EXPECT("{\"\":\"x\"}", "--", "x");
    EXPECT("{\"k\":\"\"}", "--k", "");
    EXPECT("{\"a\":3,\"b\":2}", "--a", "1", "--b", "2", "--a", "3");
    EXPECT("{\"a\":true,\"b\":2}", "--a", "1", "--b", "2", "--a");
}

static void short_flags(void **state)
{
    (void)state;
    EXPECT("{\"n\":3}", "-n", "3");
    EXPECT("{\"n\":\"-x\"}", "-n", "-x");
    EXPECT("{\"n\":\"--y\"}", "-n", "--y");
    EXPECT("{}", "-n");
    EXPECT("{\"_positional\":[\"-abc\"]}", "-abc");
    EXPECT("{\"_positional\":[\"-\"]}", "-");
}

static void negatives(void **state)
{
    (void)state;
    EXPECT("{\"t\":true}", "--t", "-1");
    EXPECT("{\"t\":true,\"1\":\"x\"}", "--t", "-1", "x");
    EXPECT("{\"t\":true,\"_positional\":[-0.5]}", "--t", "-0.5");
    EXPECT("{\"n\":-5}", "-n", "-5");
}

static void positionals(void **state)
{
    (void)state;
    EXPECT("{\"_positional\":[\"a\",1,true,0.5]}", "a", "1", "true", ".5");
    EXPECT("{\"k\":\"v\",\"_positional\":[\"x\"]}", "x", "--k", "v");
}

static void types(void **state)
{
    (void)state;
    EXPECT("{\"a\":7}", "--a", "+7");
    EXPECT("{\"a\":100000.0}", "--a", "1e5");
    EXPECT("{\"a\":0.5}", "--a", ".5");
    EXPECT("{\"a\":5.0}", "--a", "5.");
    EXPECT("{\"a\":\"nan\"}", "--a", "nan");
    EXPECT("{\"a\":\"inf\"}", "--a", "inf");
    EXPECT("{\"a\":\"1e400\"}", "--a", "1e400");
    EXPECT("{\"a\":\"0x10\"}", "--a", "0x10");
    EXPECT("{\"a\":\"1_000\"}", "--a", "1_000");
    EXPECT("{\"a\":\"True\"}", "--a", "True");
    EXPECT("{\"a\":\"null\"}", "--a", "null");
    EXPECT("{\"a\":\"[1]\"}", "--a", "[1]");
    EXPECT("{\"a\":9223372036854775807}", "--a", "9223372036854775807");
    EXPECT("{\"a\":9.223372036854776e18}", "--a", "9223372036854775808");
    EXPECT("{\"a\":\"q\\\"uote\"}", "--a", "q\"uote");
    EXPECT("{\"a\":\"caf\xC3\xA9\"}", "--a", "caf\xC3\xA9");
}

static void numbers(void **state)
{
    (void)state;
    EXPECT("{\"a\":0.7}", "--a", "0.7");
    EXPECT("{\"a\":1e16}", "--a", "1e16");
    EXPECT("{\"a\":1000000000000000.0}", "--a", "1e15");
    EXPECT("{\"a\":0.0001}", "--a", "0.0001");
    EXPECT("{\"a\":0.00001}", "--a", "0.00001");
    EXPECT("{\"a\":1e-6}", "--a", "0.000001");
    EXPECT("{\"a\":1.5e300}", "--a", "1.5e300");
    EXPECT("{\"a\":0.0}", "--a", "0.0");
    EXPECT("{\"a\":123.456}", "--a", "123.456");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_flags),  cmocka_unit_test(short_flags), cmocka_unit_test(negatives),
        cmocka_unit_test(positionals), cmocka_unit_test(types),       cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
