/* Which registry is meant, and with what token: from the environment, $PIE_HOME/config.ini and the
 * file that `bakery login` writes. No registry is built in. */
#ifndef CLI_REGISTRY_H
#define CLI_REGISTRY_H

#include "cli/config.h"
#include "cli/paths.h"
#include "cli/ui.h"
#include "engine/program/registry.h"

struct registry_choice {
    struct prog_registry registry; /* points into this */
    struct config_file file;
    char token[512];
    struct ui_bar bar;
};

/* PIE_REGISTRY, else [registry] url of the configuration. ERR_NOT_FOUND says how to name one.
 * `config` is the path of the configuration, NULL for $PIE_HOME/config.ini. */
enum err registry_choose(struct registry_choice *choice, const char *config, bool quiet,
                         struct report *report) ERR_MUST_USE;

/* Where the token lies: $BAKERY_HOME/config.toml or $PIE_HOME/bakery/config.toml. */
bool registry_token_path(char out[PATHS_MAX]);
/* Writes it, readable by its owner only. */
enum err registry_save_token(const char *token, struct report *report) ERR_MUST_USE;

/* Resolves a name at the registry and gets what is not installed into `engine`, kept in its
 * programs folder; `id` receives what to launch. */
struct engine;
enum err registry_install(struct registry_choice *choice, struct engine *engine, const char *name,
                          char id[256], struct report *report) ERR_MUST_USE;

#endif
