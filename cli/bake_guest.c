/* Builds by toolchains of others: cargo, esbuild with componentize-js, componentize-py. What is
 * missing is named with the command that installs it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/bake.h"
#include "cli/tools.h"
#include "engine/base/file.h"
#include "engine/program/toml.h"

/* ---- Rust --------------------------------------------------------------------------------- */

/* The file that cargo makes: the library's name, or the package's, with '_' for '-'. */
static enum err crate_name(const char *folder, char *name, size_t room, struct report *report)
{
    char path[PATHS_MAX];
    char *text;
    size_t bytes;
    struct prog_toml toml;
    struct report inner = {0};
    if (snprintf(path, sizeof path, "%s/Cargo.toml", folder) >= (int)sizeof path)
        return err_set(report, ERR_INVALID, "the path of %s is too long", folder);
    enum err err = file_read(path, PROG_TOML_BYTES_MAX, NULL, &text, &bytes, report);
    if (err)
        return err;
    err = prog_toml_parse(text, bytes, NULL, &toml, &inner);
    mem_free(NULL, text);
    if (err)
        return err_set(report, err, "%s, %s", path, inner.text);
    const char *const tables[] = {"lib", "package"};
    const struct prog_toml_value *found = NULL;
    for (size_t i = 0; i < 2 && !found; i++) {
        const struct prog_toml_value *table = prog_toml_find(toml.root, tables[i]);
        if (table && table->kind == PROG_TOML_TABLE)
            found = prog_toml_find(table, "name");
    }
    if (!found || found->kind != PROG_TOML_STRING || strchr(found->of.string.data, '/') ||
        snprintf(name, room, "%s", found->of.string.data) >= (int)room)
        err = err_set(report, ERR_INVALID, "%s: expected package.name, a name", path);
    prog_toml_deinit(&toml);
    for (char *at = name; !err && *at; at++)
        if (*at == '-')
            *at = '_';
    return err;
}

static bool has_rust_target(const char *rustc)
{
    char command[PATHS_MAX + 100], folder[PATHS_MAX];
    (void)snprintf(command, sizeof command,
                   "'%s' --print target-libdir --target wasm32-wasip2 2>/dev/null", rustc);
    if (strchr(rustc, '\''))
        return true; /* not to be asked this way; cargo will say */
    FILE *pipe = popen(command, "re");
    bool ok = pipe && fgets(folder, sizeof folder, pipe);
    if (pipe)
        (void)pclose(pipe);
    if (!ok)
        return false;
    folder[strcspn(folder, "\n")] = '\0';
    return bake_is_folder(folder);
}

enum err bake_rust(const struct bake_job *job, struct report *report)
{
    static const char *const cargo_names[] = {"cargo", NULL};
    static const char *const rustc_names[] = {"rustc", NULL};
    char cargo[PATHS_MAX], rustc[PATHS_MAX], crate[256], made[PATHS_MAX + 512], ours[PATHS_MAX + 64];
    if (!tools_find(cargo_names, cargo) || !tools_find(rustc_names, rustc))
        return err_set(report, ERR_NOT_FOUND,
                       "building a Rust inferlet needs cargo and rustc: apt-get install cargo-web "
                       "rustc-web, or rustup");
    if (!has_rust_target(rustc))
        return err_set(report, ERR_NOT_FOUND,
                       "rustc has no standard library for wasm32-wasip2: rustup target add "
                       "wasm32-wasip2");
    enum err err = crate_name(job->input, crate, sizeof crate, report);
    if (err)
        return err;
    struct bake_words words = {0};
    (void)snprintf(ours, sizeof ours, "%s/rust/inferlet", job->sdk);
    bool ok = bake_word(&words, cargo) && bake_word(&words, "build") &&
              bake_word(&words, "--target") && bake_word(&words, "wasm32-wasip2") &&
              bake_word(&words, "--target-dir") && bake_word(&words, "target") &&
              (job->debug || bake_word(&words, "--release")) &&
              (job->debug || bake_word(&words, "--quiet"));
    if (ok && bake_has(ours, "Cargo.toml")) /* the SDK's crate stands for the registry's */
        ok = bake_word(&words, "--config") &&
             bake_join(&words, "patch.crates-io.inferlet.path=\"", ours, "\"");
    int status = ok ? bake_run(&words, job->input, job->debug) : 127;
    bake_free_words(&words);
    if (status != 0)
        return err_set(report, ERR_INVALID, "cargo could not build %s (exit status %d)", job->input,
                       status);
    (void)snprintf(made, sizeof made, "%s/target/wasm32-wasip2/%s/%s.wasm", job->input,
                   job->debug ? "debug" : "release", crate);
    if (!bake_is_file(made))
        return err_set(report, ERR_NOT_FOUND,
                       "cargo made no %s; Cargo.toml needs [lib] crate-type = [\"cdylib\"]", made);
    return bake_copy(made, job->out, report);
}

/* ---- WIT for the others ------------------------------------------------------------------- */

/* SCRATCH/wit: the program's package, and the SDK's beside it. */
static enum err lay_out_wit(const struct bake_job *job, char wit[PATHS_MAX + 64],
                            struct report *report)
{
    char from[PATHS_MAX + 64], to[PATHS_MAX + 128];
    struct buf own;
    (void)snprintf(wit, PATHS_MAX + 64, "%s/wit", job->scratch);
    (void)snprintf(from, sizeof from, "%s/wit/deps", job->sdk);
    (void)snprintf(to, sizeof to, "%s/deps", wit);
    enum err err = bake_copy_tree(from, to, report);
    (void)snprintf(from, sizeof from, "%s/wit/world.wit", job->sdk);
    (void)snprintf(to, sizeof to, "%s/deps/pie-inferlet", wit);
    if (!err)
        err = file_make_dirs(to, report);
    (void)snprintf(to, sizeof to, "%s/deps/pie-inferlet/world.wit", wit);
    if (!err)
        err = bake_copy(from, to, report);
    buf_init(&own, NULL);
    (void)snprintf(to, sizeof to, "%s/program.wit", wit);
    if (!err && !bake_put_program_wit(&own, job->name, true))
        err = err_set(report, ERR_MEMORY, "no memory for the program's interface");
    if (!err)
        err = file_write(to, own.data, own.count, report);
    buf_deinit(&own);
    return err;
}

/* ---- JavaScript and TypeScript ------------------------------------------------------------ */

/* A tool of npm: among the program's own, the SDK's, then on PATH. */
static bool find_npm_tool(const struct bake_job *job, const char *name, char out[PATHS_MAX])
{
    const char *const names[] = {name, NULL};
    const char *const folders[] = {job->input, job->sdk};
    const char *const tails[] = {"", "/javascript"};
    for (size_t i = 0; i < 2; i++)
        if (snprintf(out, PATHS_MAX, "%s%s/node_modules/.bin/%s", folders[i], tails[i], name) <
                PATHS_MAX &&
            access(out, X_OK) == 0)
            return true;
    return tools_find(names, out);
}

static enum err install_packages(const struct bake_job *job, struct report *report)
{
    static const char *const npm_names[] = {"npm", NULL};
    char npm[PATHS_MAX], modules[PATHS_MAX + 64];
    struct bake_words words = {0};
    (void)snprintf(modules, sizeof modules, "%s/node_modules", job->input);
    if (!bake_has(job->input, "package.json") || bake_is_folder(modules))
        return ERR_OK;
    if (!tools_find(npm_names, npm))
        return err_set(report, ERR_NOT_FOUND,
                       "%s has a package.json, but there is no npm: apt-get install npm", job->input);
    bool ok = bake_word(&words, npm) && bake_word(&words, "install") &&
              bake_word(&words, "--ignore-scripts") && bake_word(&words, "--no-audit") &&
              bake_word(&words, "--no-fund");
    int status = ok ? bake_run(&words, job->input, job->debug) : 127;
    bake_free_words(&words);
    return status == 0 ? ERR_OK
                       : err_set(report, ERR_INVALID, "npm install failed in %s (exit status %d)",
                                 job->input, status);
}

static enum err find_entry(const struct bake_job *job, char entry[PATHS_MAX], struct report *report)
{
    static const char *const names[] = {"index.ts", "index.js", "src/index.ts", "src/index.js",
                                        "main.ts", "main.js"};
    char folder[PATHS_MAX];
    if (!realpath(job->input, folder))
        return err_set(report, ERR_IO, "cannot find %s: %s", job->input, strerror(errno));
    for (size_t i = 0; !job->entry && i < sizeof names / sizeof *names; i++)
        if (bake_has(folder, names[i]))
            return snprintf(entry, PATHS_MAX, "%s/%s", folder, names[i]) < PATHS_MAX
                       ? ERR_OK
                       : err_set(report, ERR_INVALID, "the path of %s is too long", names[i]);
    if (job->entry && realpath(job->entry, entry))
        return ERR_OK;
    return err_set(report, ERR_NOT_FOUND, "%s has no index.ts, index.js, main.ts or main.js",
                   job->input);
}

static const char javascript_wrapper[] =
    "import { main } from 'inferlet-program';\n"
    "export const run = {\n"
    "  async run(input) {\n"
    "    let result;\n"
    "    try {\n"
    "      result = await main(JSON.parse(input === '' ? '{}' : input));\n"
    "    } catch (error) {\n"
    "      throw String(error?.message ?? error);\n"
    "    }\n"
    "    if (result === undefined || result === null) return '';\n"
    "    return typeof result === 'string' ? result : JSON.stringify(result);\n"
    "  },\n"
    "};\n";

enum err bake_javascript(const struct bake_job *job, struct report *report)
{
    char esbuild[PATHS_MAX], componentize[PATHS_MAX], entry[PATHS_MAX], wit[PATHS_MAX + 64];
    char wrapper[PATHS_MAX + 64], bundle[PATHS_MAX + 64], library[PATHS_MAX + 64];
    struct bake_words words = {0};
    enum err err = find_entry(job, entry, report);
    if (!err)
        err = install_packages(job, report);
    if (err)
        return err;
    if (!find_npm_tool(job, "esbuild", esbuild) ||
        !find_npm_tool(job, "componentize-js", componentize))
        return err_set(report, ERR_NOT_FOUND,
                       "building a JavaScript inferlet needs esbuild and componentize-js: npm "
                       "install -g esbuild @bytecodealliance/componentize-js (node 20 or newer)");
    (void)snprintf(wrapper, sizeof wrapper, "%s/wrapper.js", job->scratch);
    (void)snprintf(bundle, sizeof bundle, "%s/bundle.js", job->scratch);
    (void)snprintf(library, sizeof library, "%s/javascript/src/index.js", job->sdk);
    err = lay_out_wit(job, wit, report);
    if (!err)
        err = file_write(wrapper, javascript_wrapper, sizeof javascript_wrapper - 1, report);
    if (err)
        return err;
    bool ok = bake_word(&words, esbuild) && bake_word(&words, wrapper) &&
              bake_word(&words, "--bundle") && bake_word(&words, "--format=esm") &&
              bake_word(&words, "--platform=neutral") && bake_word(&words, "--target=es2022") &&
              bake_word(&words, "--main-fields=module,main") &&
              bake_word(&words, "--external:pie:*") && bake_word(&words, "--external:wasi:*") &&
              bake_word(&words, "--log-level=warning") &&
              bake_join(&words, "--alias:inferlet-program=", entry, "") &&
              bake_join(&words, "--outfile=", bundle, "");
    char theirs[PATHS_MAX + 64];
    (void)snprintf(theirs, sizeof theirs, "%s/node_modules/@pie-project/inferlet", job->input);
    if (ok && bake_is_file(library) && !bake_is_folder(theirs))
        ok = bake_join(&words, "--alias:@pie-project/inferlet=", library, "");
    int status = ok ? bake_run(&words, NULL, job->debug) : 127;
    bake_free_words(&words);
    if (status != 0)
        return err_set(report, ERR_INVALID, "esbuild could not bundle %s (exit status %d)", entry,
                       status);
    ok = bake_word(&words, componentize) && bake_word(&words, bundle) &&
         bake_word(&words, "--wit") && bake_word(&words, wit) && bake_word(&words, "--world-name") &&
         bake_word(&words, "program") && bake_word(&words, "-o") && bake_word(&words, job->out) &&
         (!job->debug || bake_word(&words, "--use-debug-build"));
    status = ok ? bake_run(&words, NULL, job->debug) : 127;
    bake_free_words(&words);
    return status == 0 ? ERR_OK
                       : err_set(report, ERR_INVALID,
                                 "componentize-js could not build %s (exit status %d)", entry, status);
}

/* ---- Python ------------------------------------------------------------------------------- */

static const char python_wrapper[] =
    "import inspect\n"
    "import json\n"
    "\n"
    "from componentize_py_types import Err\n"
    "from inferlet._loop import run_until_complete\n"
    "\n"
    "import %s as program\n"
    "\n"
    "\n"
    "class Run:\n"
    "    def run(self, input: str) -> str:\n"
    "        try:\n"
    "            value = json.loads(input or \"{}\")\n"
    "        except ValueError:\n"
    "            value = {\"input\": input}\n"
    "        try:\n"
    "            result = program.main(value)\n"
    "            if inspect.iscoroutine(result):\n"
    "                result = run_until_complete(result)\n"
    "        except Err:\n"
    "            raise\n"
    "        except Exception as error:\n"
    "            raise Err(f\"{type(error).__name__}: {error}\")\n"
    "        if result is None:\n"
    "            return \"\"\n"
    "        return result if isinstance(result, str) else json.dumps(result)\n";

static enum err find_module(const struct bake_job *job, char *module, size_t room,
                            struct report *report)
{
    static const char *const names[] = {"main", "app", "inferlet_main"};
    char file[64];
    if (job->entry) {
        const char *base = strrchr(job->entry, '/');
        base = base ? base + 1 : job->entry;
        (void)snprintf(module, room, "%.*s", (int)strcspn(base, "."), base);
        return ERR_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(file, sizeof file, "%s.py", names[i]);
        if (bake_has(job->input, file)) {
            (void)snprintf(module, room, "%s", names[i]);
            return ERR_OK;
        }
    }
    return err_set(report, ERR_NOT_FOUND, "%s has no main.py or app.py", job->input);
}

enum err bake_python(const struct bake_job *job, struct report *report)
{
    static const char *const names[] = {"componentize-py", NULL};
    char tool[PATHS_MAX], wit[PATHS_MAX + 64], module[128], wrapper[PATHS_MAX + 64];
    char folder[PATHS_MAX], library[PATHS_MAX + 64];
    struct bake_words words = {0};
    struct buf text;
    if (!tools_find(names, tool))
        return err_set(report, ERR_NOT_FOUND,
                       "building a Python inferlet needs componentize-py: pip install "
                       "componentize-py");
    enum err err = find_module(job, module, sizeof module, report);
    if (!err && !realpath(job->input, folder))
        err = err_set(report, ERR_IO, "cannot find %s: %s", job->input, strerror(errno));
    if (!err)
        err = lay_out_wit(job, wit, report);
    if (err)
        return err;
    buf_init(&text, NULL);
    (void)snprintf(wrapper, sizeof wrapper, "%s/pie_entry.py", job->scratch);
    (void)snprintf(library, sizeof library, "%s/python", job->sdk);
    err = buf_printf(&text, python_wrapper, module)
              ? file_write(wrapper, text.data, text.count, report)
              : err_set(report, ERR_MEMORY, "no memory for the wrapper");
    buf_deinit(&text);
    if (err)
        return err;
    bool ok = bake_word(&words, tool) && bake_word(&words, "-d") && bake_word(&words, wit) &&
              bake_word(&words, "-w") && bake_word(&words, "program") &&
              bake_word(&words, "componentize") && bake_word(&words, "-p") &&
              bake_word(&words, job->scratch) && bake_word(&words, "-p") &&
              bake_word(&words, folder) && bake_word(&words, "-p") && bake_word(&words, library) &&
              bake_word(&words, "-o") && bake_word(&words, job->out) &&
              bake_word(&words, "pie_entry");
    int status = ok ? bake_run(&words, NULL, job->debug) : 127;
    bake_free_words(&words);
    return status == 0 ? ERR_OK
                       : err_set(report, ERR_INVALID,
                                 "componentize-py could not build %s (exit status %d)", job->input,
                                 status);
}
