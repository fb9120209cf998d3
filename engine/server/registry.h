/* The registry protocol over a folder of packages (engine/program/folder.h). */
#ifndef ENGINE_SERVER_REGISTRY_H
#define ENGINE_SERVER_REGISTRY_H

#include "engine/server/http.h"

struct srv_registry_config {
    const char *folder;
    const char *token; /* that may publish; NULL: nobody may */
};

struct srv_registry;

/* Copies what it needs. */
enum err srv_registry_create(const struct srv_registry_config *config, struct srv_registry **registry,
                             struct report *report) ERR_MUST_USE;
void srv_registry_destroy(struct srv_registry *registry); /* NULL is allowed */
/* For srv_http_open. */
struct srv_http_handler srv_registry_handler(struct srv_registry *registry);

#endif
