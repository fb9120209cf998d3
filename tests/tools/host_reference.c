/* links: engine/host
 * Prints what inferlets can ask, from engine/host/host.def, as Markdown. */
#include <stdio.h>

#include "engine/host/host.h"

int main(void)
{
    struct buf text;
    buf_init(&text, NULL);
    bool good = host_describe(&text) && fwrite(text.data, 1, text.count, stdout) == text.count;
    buf_deinit(&text);
    return good ? 0 : 1;
}
