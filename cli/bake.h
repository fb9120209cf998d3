/* The commands of `bakery`, and what they share. Each gets the words behind its name and returns
 * the exit status, as those of `pie` do (cmd.h). */
#ifndef CLI_BAKE_H
#define CLI_BAKE_H

#include "cli/paths.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/program/manifest.h"
#include "interp/component/witdoc.h"

enum { BAKE_MANIFEST_BYTES_MAX = 1 << 20, BAKE_WASM_BYTES_MAX = 512 << 20 };

int bake_create(int argc, char **argv);
int bake_build(int argc, char **argv);
/* Builds without a word on stdout. */
int bake_build_quietly(const char *folder, const char *out);
int bake_wit(int argc, char **argv);
int bake_login(int argc, char **argv);
int bake_publish(int argc, char **argv);
int bake_search(int argc, char **argv);
int bake_info(int argc, char **argv);
int bake_keygen(int argc, char **argv);

enum bake_language { BAKE_NONE, BAKE_C, BAKE_RUST, BAKE_JAVASCRIPT, BAKE_PYTHON };

/* One build. All paths are absolute or relative to the working directory. */
struct bake_job {
    const char *input;  /* the program's folder */
    const char *entry;  /* the file that was named instead of a folder; NULL */
    const char *out;    /* the .wasm to write */
    const char *name;   /* of the program */
    char sdk[PATHS_MAX];
    char scratch[PATHS_MAX]; /* a folder of its own, removed at the end */
    bool debug;
    const struct comp_wit *wit; /* the SDK's, with the program's own interface */
};

/* bake_guest.c: by toolchains of others. */
enum err bake_rust(const struct bake_job *job, struct report *report) ERR_MUST_USE;
enum err bake_javascript(const struct bake_job *job, struct report *report) ERR_MUST_USE;
enum err bake_python(const struct bake_job *job, struct report *report) ERR_MUST_USE;

/* Reads DIR/Pie.toml. */
enum err bake_manifest(const char *folder, struct prog_manifest *manifest,
                       struct report *report) ERR_MUST_USE;

/* "bakery: MESSAGE" on stderr; CMD_FAILED. */
int bake_complain(const struct report *report);

/* The folder sdk/: $PIE_SDK, or beside the folder that holds this binary. */
enum err bake_find_sdk(char out[PATHS_MAX], struct report *report) ERR_MUST_USE;

/* SDK/wit with, unless it is NULL, the interface `run` of the program `name`. */
enum err bake_read_wit(const char *sdk, const char *name, struct comp_wit *wit,
                       struct report *report) ERR_MUST_USE;

/* True for names that work in every language: words of lower-case letters and digits, each
 * beginning with a letter, '-' between them (WIT's kebab-case). */
bool bake_is_name(const char *name);

/* "package pie:NAME; interface run ...", and a world `program` when `with_world`. */
bool bake_put_program_wit(struct buf *out, const char *name, bool with_world);

/* ---- words of a command line -------------------------------------------------------------- */

struct bake_words {
    char **items;
    size_t count, capacity;
};

/* Append before + middle + after, or one word, as one word. False: no memory. */
bool bake_join(struct bake_words *words, const char *before, const char *middle, const char *after);
bool bake_word(struct bake_words *words, const char *word);
void bake_free_words(struct bake_words *words);
/* Runs it in `folder` (NULL: here), shown on stderr when `show`. The exit status; 127 when it could
 * not be started. */
int bake_run(struct bake_words *words, const char *folder, bool show);

/* ---- files -------------------------------------------------------------------------------- */

bool bake_is_file(const char *path);
bool bake_is_folder(const char *path);
/* "FOLDER/NAME" exists and is a file. */
bool bake_has(const char *folder, const char *name);
/* Names in a folder that end in `suffix`, sorted; those of folders too. */
bool bake_list(const char *folder, const char *suffix, struct bake_words *names);
enum err bake_copy(const char *from, const char *to, struct report *report) ERR_MUST_USE;
/* Copies regular files and folders. */
enum err bake_copy_tree(const char *from, const char *to, struct report *report) ERR_MUST_USE;
void bake_remove_tree(const char *path);

#endif
