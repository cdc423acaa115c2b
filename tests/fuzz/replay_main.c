/* For builds without libFuzzer: runs the target once over each file that is named, or that lies in
 * a directory that is named. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned files_run;

static void
die(const char *what, const char *path)
{
    fprintf(stderr, "%s %s\n", what, path);
    exit(1);
}

/* On the heap and of exactly its length, so that the address sanitizer sees a read behind it. */
static void
run_file(const char *path, size_t len)
{
    uint8_t *data = malloc(len == 0 ? 1 : len);
    FILE *file = fopen(path, "rb");

    if (data == NULL || file == NULL || fread(data, 1, len, file) != len)
        die("cannot read", path);
    fclose(file);
    LLVMFuzzerTestOneInput(data, len);
    free(data);
    files_run++;
}

static void
run_path(const char *path)
{
    struct dirent *entry;
    struct stat st;
    DIR *dir;

    if (stat(path, &st) != 0)
        die("cannot read", path);
    if (!S_ISDIR(st.st_mode)) {
        run_file(path, (size_t)st.st_size);
        return;
    }
    if ((dir = opendir(path)) == NULL)
        die("cannot open", path);
    while ((entry = readdir(dir)) != NULL) {
        char name[4096];

        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) >= (int)sizeof(name))
            die("the path is too long:", path);
        run_path(name);
    }
    closedir(dir);
}

int
main(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++)
        run_path(argv[i]);
    printf("%u inputs\n", files_run);
    return files_run > 0 ? 0 : 1;
}
