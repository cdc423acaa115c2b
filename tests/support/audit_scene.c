#include "tests/support/audit_scene.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "protocol/audit_key.h"
#include "protocol/audit_reader.h"
#include "tests/support/support.h"
#include "tests/support/test_key.h"

#define COUNTER_ATTRIBUTES 0x20040014u /* WRITTEN, AUTHREAD, AUTHWRITE, COUNTER */
#define MAX_PATH 4096

struct audit_scene {
    char dir[2048];
    struct test_key *pair;
    struct public_key *key;
    uint64_t per_segment, in_segment;
    uint64_t first_of[1024]; /* index of the first record of each segment */
    uint32_t segment;
    FILE *file;
    struct audit_tree tree;
    bool has_counter;
    uint64_t counter;
    bool has_previous;
    uint64_t previous, newest;
};

static void
path_of(const struct audit_scene *scene, const char *name, char ret_path[MAX_PATH])
{
    assert_true(snprintf(ret_path, MAX_PATH, "%s/%s", scene->dir, name) < MAX_PATH);
}

static void
make_parents(const char *path)
{
    char parent[MAX_PATH];

    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
        assert_true(mkdir(parent, 0700) == 0 || errno == EEXIST);
    }
}

static void
write_file(const struct audit_scene *scene, const char *name, struct ath_slice content)
{
    char path[MAX_PATH];
    FILE *file;

    path_of(scene, name, path);
    make_parents(path);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content.data, 1, content.len, file), content.len);
    assert_int_equal(fclose(file), 0);
}

/* ---- keys ---- */

static void
use_key(struct audit_scene *scene, const char *name)
{
    struct ath_buf content = {0};
    char file[128];

    test_key_free(scene->pair);
    public_key_free(scene->key);
    scene->pair = test_key_new(TEST_KEY_P256, name);
    assert_int_equal(public_key_from_der(test_key_der(scene->pair), NULL, &scene->key), ATH_OK);
    snprintf(file, sizeof(file), "keys/%s.json", public_key_jkt(scene->key));
    audit_key_put_file(scene->key, &content);
    assert_int_equal(content.err, ATH_OK);
    write_file(scene, file, ath_buf_slice(&content));
    ath_buf_done(&content);
}

struct audit_scene *
audit_scene_new(const char *dir, const char *key_name, uint64_t per_segment, bool has_counter)
{
    struct audit_scene *scene = calloc(1, sizeof(*scene));

    assert_non_null(scene);
    assert_true(strlen(dir) < sizeof(scene->dir));
    strcpy(scene->dir, dir);
    scene->per_segment = per_segment;
    scene->has_counter = has_counter;
    scene->counter = 41;
    use_key(scene, key_name);
    return scene;
}

void
audit_scene_free(struct audit_scene *scene)
{
    if (scene->file != NULL)
        assert_int_equal(fclose(scene->file), 0);
    test_key_free(scene->pair);
    public_key_free(scene->key);
    free(scene);
}

void
audit_scene_change_key(struct audit_scene *scene, const char *key_name)
{
    use_key(scene, key_name);
}

uint64_t
audit_scene_size(const struct audit_scene *scene)
{
    return scene->tree.size;
}

const struct public_key *
audit_scene_key(const struct audit_scene *scene)
{
    return scene->key;
}

const char *
audit_scene_jkt(const struct audit_scene *scene)
{
    return public_key_jkt(scene->key);
}

/* ---- records ---- */

static void
next_segment(struct audit_scene *scene)
{
    char name[AUDIT_SEGMENT_NAME_SIZE], path[MAX_PATH];

    if (scene->file != NULL)
        assert_int_equal(fclose(scene->file), 0);
    assert_true(++scene->segment < sizeof(scene->first_of) / sizeof(scene->first_of[0]));
    scene->first_of[scene->segment] = scene->tree.size;
    scene->in_segment = 0;
    audit_segment_name(scene->segment, name);
    path_of(scene, name, path);
    make_parents(path);
    scene->file = fopen(path, "ab");
    assert_non_null(scene->file);
}

static ath_err
put_tile(void *ctx, const struct audit_tile *tile, const uint8_t *hashes)
{
    char path[AUDIT_TILE_MAX_PATH];

    audit_tile_path(tile, path);
    write_file(ctx, path, ath_slice_of(hashes, (size_t)tile->width * SHA256_LEN));
    return ATH_OK;
}

void
audit_scene_append_text(struct audit_scene *scene, const char *members)
{
    static char line[AUDIT_LINE_MAX + 2];
    uint64_t index = scene->tree.size;
    uint8_t leaf[SHA256_LEN];
    int len;

    if (scene->file == NULL || scene->in_segment == scene->per_segment)
        next_segment(scene);
    len = snprintf(line, sizeof(line),
                   "{\"index\":%llu,\"timestamp\":\"2026-01-%02uT%02u:%02u:%02u.%03uZ\",%s",
                   (unsigned long long)index, (unsigned)(index / 8640000 % 28 + 1),
                   (unsigned)(index / 360000 % 24), (unsigned)(index / 6000 % 60),
                   (unsigned)(index / 100 % 60), (unsigned)(index % 100 * 10), members);
    assert_true(len > 0 && len <= (int)AUDIT_LINE_MAX);
    assert_int_equal(merkle_leaf(ath_slice_of(line, (size_t)len), leaf), ATH_OK);
    line[len] = '\n';
    assert_int_equal(fwrite(line, 1, (size_t)len + 1, scene->file), (size_t)len + 1);
    scene->in_segment++;
    assert_int_equal(audit_tree_append(&scene->tree, leaf, put_tile, scene), ATH_OK);
}

void
audit_scene_append(struct audit_scene *scene, uint64_t count, size_t line_len)
{
    static const char trace[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    static char members[AUDIT_LINE_MAX];

    for (uint64_t i = 0; i < count; i++) {
        int len = snprintf(members, sizeof(members),
                           "\"event\":\"sign\",\"caller\":{\"uid\":1000,\"pid\":%llu},\"key\":"
                           "\"alice\",\"trace\":\"%s\",\"x\":\"",
                           (unsigned long long)(4000 + scene->tree.size % 997), trace);
        size_t at = (size_t)len;

        for (; at + 50 < line_len && at + 60 < sizeof(members); at++)
            members[at] = (char)('a' + at % 26);
        strcpy(members + at, "\"}");
        audit_scene_append_text(scene, members);
    }
    assert_int_equal(fflush(scene->file), 0);
}

void
audit_scene_append_bytes(struct audit_scene *scene, const char *bytes)
{
    assert_true(fputs(bytes, scene->file) >= 0);
    assert_int_equal(fflush(scene->file), 0);
}

void
audit_scene_retain(struct audit_scene *scene, uint64_t kept_from)
{
    char members[128], name[AUDIT_SEGMENT_NAME_SIZE], path[MAX_PATH];

    snprintf(members, sizeof(members), "\"event\":\"audit_retention\",\"kept_from\":%llu}",
             (unsigned long long)kept_from);
    audit_scene_append_text(scene, members);
    audit_scene_checkpoint(scene);
    for (uint32_t number = 1; number < scene->segment; number++)
        if (scene->first_of[number + 1] <= kept_from) {
            audit_segment_name(number, name);
            path_of(scene, name, path);
            assert_int_equal(unlink(path), 0);
        }
}

/* ---- checkpoints ---- */

/* TPMS_NV_PUBLIC in a TPM2B (TPM 2.0 part 2, 13.5). */
void
audit_scene_put_counter_public(uint32_t index, uint32_t attributes, struct ath_buf *out)
{
    bytes_put_u16(out, 14);
    bytes_put_u32(out, index);
    bytes_put_u16(out, 0x000b);
    bytes_put_u32(out, attributes);
    bytes_put_u16(out, 0); /* authPolicy */
    bytes_put_u16(out, 8); /* dataSize */
}

/* TPMS_ATTEST in a TPM2B (part 2, 10.12.8). */
void
audit_scene_put_counter_evidence(const struct audit_scene *scene, struct ath_slice nv_public,
                                 uint64_t value, struct ath_slice nonce, struct ath_buf *out)
{
    struct ath_buf attest = {0};
    uint8_t name[SHA256_LEN];

    assert_int_equal(sha256(ath_slice_of(nv_public.data + 2, nv_public.len - 2), name), ATH_OK);
    bytes_put_u32(&attest, 0xff544347);
    bytes_put_u16(&attest, 0x8014);
    bytes_put_u16(&attest, 4); /* qualifiedSigner */
    bytes_put_u32(&attest, 0x40000001);
    bytes_put_u16(&attest, (uint16_t)nonce.len);
    ath_buf_put_slice(&attest, nonce);
    bytes_put_u64(&attest, 123456); /* clock */
    bytes_put_u32(&attest, 7);
    bytes_put_u32(&attest, 8);
    bytes_put_u8(&attest, 1);
    bytes_put_u64(&attest, 0x20240101); /* firmwareVersion */
    bytes_put_u16(&attest, 2 + SHA256_LEN);
    bytes_put_u16(&attest, 0x000b);
    ath_buf_put(&attest, name, sizeof(name));
    bytes_put_u16(&attest, 0); /* offset */
    bytes_put_u16(&attest, 8);
    bytes_put_u64(&attest, value);
    bytes_put_u16(out, (uint16_t)attest.len);
    ath_buf_put_slice(out, ath_buf_slice(&attest));
    test_key_sign(scene->pair, ath_buf_slice(&attest), out);
    ath_buf_done(&attest);
}

struct checkpoint
audit_scene_next_checkpoint(struct audit_scene *scene)
{
    struct checkpoint checkpoint = {.size = scene->tree.size,
                                    .time = "2026-02-03T04:05:06.789Z",
                                    .has_previous = scene->has_previous,
                                    .previous = scene->previous,
                                    .has_counter = scene->has_counter,
                                    .counter_index = AUDIT_SCENE_COUNTER_INDEX,
                                    .counter = ++scene->counter};

    if (scene->has_previous && scene->newest != scene->tree.size)
        checkpoint.previous = scene->newest;
    strcpy(checkpoint.jkt, public_key_jkt(scene->key));
    assert_int_equal(audit_tree_root(&scene->tree, checkpoint.root), ATH_OK);
    return checkpoint;
}

static ath_err
remove_tile(void *ctx, const struct audit_tile *tile, const uint8_t *hashes)
{
    char name[AUDIT_TILE_MAX_PATH], path[MAX_PATH];

    (void)hashes;
    audit_tile_path(tile, name);
    path_of(ctx, name, path);
    if (unlink(path) == 0) {
        *strrchr(path, '/') = '\0';
        rmdir(path);
    }
    return ATH_OK;
}

static bool
is_of_both(const struct audit_tile *tile, uint64_t size)
{
    return audit_tile_width(size, tile->level, tile->index) == tile->width;
}

/* Partial tiles of the last checkpoint that the new one does not have. */
static void
remove_stale_tiles(struct audit_scene *scene)
{
    for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++) {
        uint64_t hashes = audit_tile_hashes(scene->newest, level);
        struct audit_tile tile = {level, hashes / AUDIT_TILE_WIDTH,
                                  (unsigned)(hashes % AUDIT_TILE_WIDTH)};

        if (tile.width != 0 && !is_of_both(&tile, scene->tree.size))
            remove_tile(scene, &tile, NULL);
    }
}

void
audit_scene_sign(struct audit_scene *scene, const struct checkpoint *checkpoint)
{
    struct ath_buf text = {0}, signature = {0}, nv_public = {0}, evidence = {0}, note = {0};
    char name[CHECKPOINT_NAME_LEN + 1], file[128];
    uint8_t nonce[SHA256_LEN];

    checkpoint_put_text(checkpoint, &text);
    test_key_sign(scene->pair, ath_buf_slice(&text), &signature);
    if (checkpoint->has_counter) {
        assert_int_equal(checkpoint_nonce(ath_buf_slice(&text), nonce), ATH_OK);
        audit_scene_put_counter_public(checkpoint->counter_index, COUNTER_ATTRIBUTES, &nv_public);
        audit_scene_put_counter_evidence(scene, ath_buf_slice(&nv_public), checkpoint->counter,
                                         ath_slice_of(nonce, sizeof(nonce)), &evidence);
    }
    assert_int_equal(checkpoint_put_note(ath_buf_slice(&text), scene->key,
                                         ath_buf_slice(&signature), ath_buf_slice(&nv_public),
                                         ath_buf_slice(&evidence), &note),
                     ATH_OK);
    if (scene->file != NULL)
        assert_int_equal(fflush(scene->file), 0);
    assert_int_equal(audit_tree_partials(&scene->tree, put_tile, scene), ATH_OK);
    checkpoint_name(checkpoint->size, name);
    snprintf(file, sizeof(file), "checkpoints/%s", name);
    write_file(scene, file, ath_buf_slice(&note));
    write_file(scene, "checkpoint", ath_buf_slice(&note));
    remove_stale_tiles(scene);
    scene->has_previous = true;
    scene->previous = checkpoint->previous;
    scene->newest = checkpoint->size;
    ath_buf_done(&text);
    ath_buf_done(&signature);
    ath_buf_done(&nv_public);
    ath_buf_done(&evidence);
    ath_buf_done(&note);
}

void
audit_scene_checkpoint(struct audit_scene *scene)
{
    struct checkpoint checkpoint = audit_scene_next_checkpoint(scene);

    audit_scene_sign(scene, &checkpoint);
}
