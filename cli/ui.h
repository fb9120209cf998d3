/* What a person sees while something lasts: one line on stderr that is rewritten, only when stderr
 * is a terminal; otherwise nothing but, for long work, a line now and then. */
#ifndef CLI_UI_H
#define CLI_UI_H

#include <stdbool.h>
#include <stdint.h>

struct ui_bar {
    const char *label;
    uint64_t begun_ns, shown_ns;
    bool shown;
    bool quiet; /* show nothing at all */
    int decile; /* last tenth that was printed when stderr is no terminal */
};

void ui_bar_begin(struct ui_bar *bar, const char *label, bool quiet);
/* `note` (may be NULL) follows the percentage. Shows itself only after half a second. */
void ui_bar_update(struct ui_bar *bar, uint64_t done, uint64_t total, const char *note);
/* Removes the line from the terminal. */
void ui_bar_end(struct ui_bar *bar);

/* "1.2 GiB"; rotates over four static buffers. */
const char *ui_bytes(uint64_t bytes);

/* Writes to the terminal what came from elsewhere, without control characters that would steer
 * it (C0 but tab and newline, C1, DEL), also when they come in two calls; straight through when
 * `is_terminal` is false. */
void ui_write_safely(int fd, const char *data, uint64_t bytes, bool is_terminal);

#endif
