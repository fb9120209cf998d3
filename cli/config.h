/* The engine's configuration file: INI (through inih). A missing default file is no error; an
 * unknown section or key is, with its line.
 *
 *     [model]    path = FILE.gguf | FOLDER | name = NAME; quantize = Q8_0 (float weights, in memory);
 *                packed_cache = true (keep packed weights in $PIE_HOME/cache)
 *     [engine]   threads page_tokens page_count kv_bits batch_tokens batch_requests seed
 *     [runtime]  memory_mb fuel token_budget processes allow_fs allow_network
 *                network_allowed_hosts = * | ADDRESS[/BITS][:PORT[-LAST]] ...
 *     [registry] url = https://HOST | FOLDER   trusted_keys = KEY, KEY   signing_key = FILE
 */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include "engine/engine.h"

struct config_file {
    /* Empty: not said. */
    char model[4096], network_rules[4096], quantize[4096];
    char registry[4096], trusted_keys[4096], signing_key[4096];
};

/* Reads `path`, or $PIE_HOME/config.ini when it is NULL, into `config`. */
enum err config_read(const char *path, struct engine_config *config, struct config_file *file,
                     struct report *report) ERR_MUST_USE;

#endif
