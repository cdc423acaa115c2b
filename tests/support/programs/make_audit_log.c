/* make_audit_log DIR RECORDS LINE_LEN PER_SEGMENT PER_CHECKPOINT tpm|none: an audit log of a
 * throw-away key, for tests and benchmarks of `ath audit`. Prints the key's thumbprint. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/audit_scene.h"

int
main(int argc, char **argv)
{
    struct audit_scene *scene;
    uint64_t records, every;
    size_t line_len;

    if (argc != 7) {
        fprintf(stderr, "usage: make_audit_log DIR RECORDS LINE_LEN PER_SEGMENT PER_CHECKPOINT "
                        "tpm|none\n");
        return EXIT_FAILURE;
    }
    records = strtoull(argv[2], NULL, 10);
    line_len = strtoul(argv[3], NULL, 10);
    every = strtoull(argv[5], NULL, 10);
    if (every == 0 || crypto_init() != ATH_OK)
        return EXIT_FAILURE;
    scene =
        audit_scene_new(argv[1], "audit", strtoull(argv[4], NULL, 10), strcmp(argv[6], "tpm") == 0);
    audit_scene_checkpoint(scene);
    while (audit_scene_size(scene) < records) {
        uint64_t rest = records - audit_scene_size(scene);

        audit_scene_append(scene, rest < every ? rest : every, line_len);
        audit_scene_checkpoint(scene);
    }
    printf("%s\n", audit_scene_jkt(scene));
    audit_scene_free(scene);
    return EXIT_SUCCESS;
}
