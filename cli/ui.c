#include "cli/ui.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"

enum { BAR_CELLS = 28 };
static const uint64_t SHOW_AFTER_NS = 500000000;
static const uint64_t REDRAW_NS = 100000000;

void ui_bar_begin(struct ui_bar *bar, const char *label, bool quiet)
{
    *bar = (struct ui_bar){.label = label, .begun_ns = clock_now_ns(), .quiet = quiet};
}

static void format_left(char text[32], uint64_t elapsed_ns, uint64_t done, uint64_t total)
{
    if (done == 0) {
        text[0] = '\0';
        return;
    }
    uint64_t left = (uint64_t)((double)elapsed_ns / (double)done * (double)(total - done) / 1e9);
    (void)snprintf(text, 32, "%llu:%02llu left", (unsigned long long)(left / 60),
                   (unsigned long long)(left % 60));
}

void ui_bar_update(struct ui_bar *bar, uint64_t done, uint64_t total, const char *note)
{
    char left[32];
    uint64_t now = clock_now_ns();
    bool terminal = isatty(STDERR_FILENO);
    if (bar->quiet || total == 0 || now - bar->begun_ns < SHOW_AFTER_NS)
        return;
    if (done > total)
        done = total;
    format_left(left, now - bar->begun_ns, done, total);
    if (!terminal) {
        int decile = (int)(done * 10 / total);
        if (decile <= bar->decile)
            return;
        bar->decile = decile;
        (void)fprintf(stderr, "%s %d%% %s %s\n", bar->label, decile * 10, note ? note : "", left);
        return;
    }
    if (bar->shown && now - bar->shown_ns < REDRAW_NS && done < total)
        return;
    char cells[BAR_CELLS * 3 + 1];
    size_t at = 0;
    uint64_t full = done * BAR_CELLS / total;
    for (uint64_t i = 0; i < BAR_CELLS; i++) {
        const char *cell = i < full ? "\xE2\x96\x88" : "\xE2\x96\x91";
        memcpy(cells + at, cell, 3);
        at += 3;
    }
    cells[at] = '\0';
    (void)fprintf(stderr, "\r\033[K%s %s %3d%%  %s  %s", bar->label, cells,
                  (int)(done * 100 / total), note ? note : "", left);
    (void)fflush(stderr);
    bar->shown = true;
    bar->shown_ns = now;
}

void ui_bar_end(struct ui_bar *bar)
{
    if (bar->shown)
        (void)fprintf(stderr, "\r\033[K");
    bar->shown = false;
}

const char *ui_bytes(uint64_t bytes)
{
    static char texts[4][32];
    static unsigned turn;
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char *text = texts[turn++ % 4];
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(text, sizeof texts[0], unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

static void write_all(int fd, const char *data, uint64_t bytes)
{
    while (bytes) {
        ssize_t put = write(fd, data, bytes);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return; /* the reader is gone: nothing more can be said */
        data += put;
        bytes -= (uint64_t)put;
    }
}

void ui_write_safely(int fd, const char *data, uint64_t bytes, bool is_terminal)
{
    uint64_t begin = 0;
    if (!is_terminal) {
        write_all(fd, data, bytes);
        return;
    }
    for (uint64_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)data[i];
        bool is_last = i + 1 == bytes; /* then the next piece could make a C1 of it */
        bool c1 = c == 0xC2 && (is_last || ((unsigned char)data[i + 1] >= 0x80 &&
                                            (unsigned char)data[i + 1] < 0xA0));
        if (!(c < 0x20 && c != '\n' && c != '\t') && c != 0x7F && !c1)
            continue;
        write_all(fd, data + begin, i - begin);
        i += c1 && !is_last;
        begin = i + 1;
    }
    write_all(fd, data + begin, bytes - begin);
}
