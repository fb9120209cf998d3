/* pie registry: serves a folder of packages, and tends it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/paths.h"
#include "engine/base/file.h"
#include "engine/program/folder.h"
#include "engine/server/registry.h"

static struct srv_http *serving; /* for the signal handler */

static int complain(const struct report *report)
{
    (void)fprintf(stderr, "pie: %s\n", report->text);
    return CMD_FAILED;
}

static void on_signal(int number)
{
    (void)number;
    if (serving)
        srv_http_stop(serving);
}

/* "HOST:PORT", "[ADDRESS]:PORT" or "PORT". */
static bool split_address(const char *text, char host[256], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    const char *number = colon ? colon + 1 : text;
    size_t bytes = colon ? (size_t)(colon - text) : 0;
    char *end;
    unsigned long value = strtoul(number, &end, 10);
    if (number[0] < '0' || number[0] > '9' || *end || value > 65535 || bytes >= 256)
        return false;
    if (bytes >= 2 && text[0] == '[' && text[bytes - 1] == ']') {
        text++;
        bytes -= 2;
    }
    (void)snprintf(host, 256, "%.*s", (int)bytes, text);
    if (!bytes)
        (void)snprintf(host, 256, "127.0.0.1");
    *port = (uint16_t)value;
    return true;
}

/* The token in the first line of a file; NULL without a file. */
static enum err read_token(const char *path, char token[300], struct report *report)
{
    char *text;
    size_t bytes;
    enum err err = file_read(path, 4096, NULL, &text, &bytes, report);
    if (err)
        return err;
    size_t length = strcspn(text, "\r\n");
    if (length < 16 || length >= 290)
        err = err_set(report, ERR_INVALID, "%s: expected a token of 16 to 290 characters in one line",
                      path);
    else
        (void)snprintf(token, 300, "%.*s", (int)length, text);
    mem_free(NULL, text);
    return err;
}

static int serve(int argc, char **argv)
{
    const char *listen_on = "127.0.0.1:8090", *token_path = NULL;
    struct report report = {0};
    struct srv_registry *registry = NULL;
    char host[256], token[300] = "";
    struct srv_http_config config = {0};
    const struct args_option table[] = {
        {"listen", 'l', NULL, &listen_on, "HOST:PORT", "Where to listen (127.0.0.1:8090; port 0: any)"},
        {"token-file", 0, NULL, &token_path, "FILE", "Who has the token in it may publish"},
        {0},
    };
    struct args args = {
        .command = "pie registry serve",
        .synopsis = "DIR",
        .description = "Serves a folder of packages (DIR/NAME/VERSION.wasm and VERSION.toml) by the\n"
                       "registry protocol. Without --token-file nobody may publish. There is no TLS:\n"
                       "put a proxy in front where the network is not trusted.",
        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (args.positional_count != 1 || !split_address(listen_on, host, &config.port)) {
        (void)fprintf(stderr, "error: pie registry serve DIR [--listen HOST:PORT]\n");
        return CMD_USAGE;
    }
    config.host = host;
    if ((token_path && read_token(token_path, token, &report)) ||
        file_make_dirs(args.positionals[0], &report))
        return complain(&report);
    const struct srv_registry_config what = {.folder = args.positionals[0],
                                             .token = token_path ? token : NULL};
    if (srv_registry_create(&what, &registry, &report))
        return complain(&report);
    const struct srv_http_handler handler = srv_registry_handler(registry);
    if (srv_http_open(&config, &handler, &serving, &report)) {
        srv_registry_destroy(registry);
        return complain(&report);
    }
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    printf("registry of %s at http://%s:%u%s\n", args.positionals[0], host, srv_http_port(serving),
           token_path ? "" : " (read only)");
    (void)fflush(stdout);
    srv_http_run(serving);
    struct srv_http *done = serving;
    serving = NULL;
    srv_http_close(done);
    srv_registry_destroy(registry);
    return CMD_OK;
}

static int yank(int argc, char **argv)
{
    bool undo = false;
    struct report report = {0};
    char name[256];
    const struct args_option table[] = {
        {"undo", 0, &undo, NULL, NULL, "Let it be found again"},
        {0},
    };
    struct args args = {.command = "pie registry yank",
                        .synopsis = "DIR NAME@VERSION",
                        .description = "Marks a version: it is then found by its exact version only.",
                        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    const char *at = args.positional_count == 2 ? strchr(args.positionals[1], '@') : NULL;
    if (!at) {
        (void)fprintf(stderr, "error: pie registry yank DIR NAME@VERSION\n");
        return CMD_USAGE;
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)(at - args.positionals[1]), args.positionals[1]);
    if (prog_folder_yank(args.positionals[0], name, at + 1, !undo, &report))
        return complain(&report);
    return CMD_OK;
}

int cmd_registry(int argc, char **argv)
{
    if (argc >= 1 && strcmp(argv[0], "serve") == 0)
        return serve(argc - 1, argv + 1);
    if (argc >= 1 && strcmp(argv[0], "yank") == 0)
        return yank(argc - 1, argv + 1);
    bool help = argc >= 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
    (void)fprintf(help ? stdout : stderr,
                  "Usage: pie registry COMMAND\n\n"
                  "  serve    Serve a folder of packages over HTTP\n"
                  "  yank     Take a version out of the search for the newest\n\n"
                  "`pie run NAME` gets what is not installed from PIE_REGISTRY, or from [registry]\n"
                  "url in config.ini: an address, or a folder.\n");
    return help ? CMD_OK : CMD_USAGE;
}
