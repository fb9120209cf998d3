/* The commands of `pie`. Each gets the words behind its name and returns the exit status: 0, 1 for
 * errors at run time, 2 for wrong usage, 130 when a person stopped it. */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#define CMD_VERSION "0.4.0"

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2, CMD_INTERRUPTED = 130 };

int cmd_run(int argc, char **argv);
int cmd_model(int argc, char **argv);
int cmd_registry(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_wasm(int argc, char **argv);

#endif
