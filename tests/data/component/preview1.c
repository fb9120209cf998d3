/* A guest for the tests of interp/wasi: an ordinary C program on wasi-libc (preview 1). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char line[100];
    struct timespec pause = {0, 5000000}, before, after;
    for (int i = 0; i < argc; i++)
        printf("%s;", argv[i]);
    printf("%s\n", getenv("NAME") ? getenv("NAME") : "none");
    clock_gettime(CLOCK_MONOTONIC, &before);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("slept %d\n", (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec -
                             before.tv_nsec >= 5000000);
    while (fgets(line, sizeof line, stdin))
        printf("read %s", line);
    int missing = open("/etc/passwd", O_RDONLY), number = errno;
    printf("open %d %s\n", missing, strerror(number));
    fprintf(stderr, "to stderr\n");
    return 3;
}
