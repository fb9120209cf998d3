/* links: engine/chat
 * Chat templates: the input is a template, a zero byte, and optionally a JSON object of variables. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/chat/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char variables[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\\nb\"},{\"role\":\"assistant\","
        "\"content\":\"\xC3\xA9\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
        "\"bos_token\":\"<s>\",\"n\":-3,\"x\":1.5,\"add_generation_prompt\":true,\"none\":null}";
    const char *source = (const char *)data;
    const uint8_t *zero = bytes ? memchr(data, 0, bytes) : NULL;
    size_t source_bytes = zero ? (size_t)(zero - data) : bytes;
    struct jinja *jinja;
    struct report report = {0};
    struct buf out;
    if (jinja_create(source, source_bytes, &jinja, &report))
        return 0;
    buf_init(&out, NULL);
    if (zero && bytes - source_bytes > 2)
        (void)!jinja_render(jinja, source + source_bytes + 1, bytes - source_bytes - 1, 0, &out,
                            &report);
    else
        (void)!jinja_render(jinja, variables, sizeof variables - 1, 1721999109, &out, &report);
    buf_deinit(&out);
    jinja_destroy(jinja);
    return 0;
}
