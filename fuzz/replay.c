/*
 * A fuzz target without a fuzzer: every file of the corpora named on the command line is one test, in the
 * process itself, because a target that survives the fuzzer is not expected to die of a file it has seen.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay(const char *folder, const char *name, int number)
{
    char path[4096];
    long size = 0;
    uint8_t *data;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) < 0 || (size = ftell(file)) < 0) {
        printf("not ok %d - %s cannot be read\n", number, path);
        exit(1);
    }
    rewind(file);
    data = malloc(size ? (size_t) size : 1); /* no byte more, so that ASan sees an overrun */
    if (!data || fread(data, 1, (size_t) size, file) != (size_t) size)
        exit(1);
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t) size);
    free(data);
    printf("ok %d - corpus file %s\n", number, name);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int number = 0;

    for (int i = 1; i < argc; i++) {
        struct dirent **entries = NULL;
        int count = scandir(argv[i], &entries, NULL, alphasort);

        for (int k = 0; k < count; k++) {
            if (entries[k]->d_name[0] != '.')
                replay(argv[i], entries[k]->d_name, ++number);
            free(entries[k]);
        }
        free(entries);
    }
    printf("1..%d\n", number);
    return number > 0 ? 0 : 77;
}
