/* links: models
 * Writes the folders of tiny_folder.h into a folder: tiny_folder FOLDER. */
#include "tests/tools/tiny_folder.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    for (unsigned i = 0; i < FOLDER_COUNT; i++) {
        char path[1000];
        snprintf(path, sizeof path, "%s/%s", argv[1], folder_specs[i].name);
        tiny_folder(&folder_specs[i], path);
    }
    return 0;
}
