/* Log lines of the engine. Libraries never print: they log, and whoever runs the process decides
 * where lines go (the CLI: a file, or stderr with --debug). Without a sink lines are dropped. */
#ifndef ENGINE_BASE_LOG_H
#define ENGINE_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* `line` has no newline and is borrowed for the call. May be called from any thread. */
typedef void (*log_sink)(void *user, enum log_level level, const char *line);

/* Before other threads log. */
void log_set_sink(log_sink sink, void *user, enum log_level level_max);
void log_line(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
