/*
 * Fuzz targets of the handshake run an honest handshake (tests/support/handshake_scene.h) up to some
 * message and let the fuzzer change that: input is a byte of flags and the JSON text of an object whose
 * members take the place of the message's own ("(remove)": the member goes; objects that both have are
 * laid over each other), or, with FLAG_RAW, the text of a message. All keys are Ed25519, so that an
 * input does the same each time.
 */
#ifndef TESTS_FUZZ_OVERLAY_H
#define TESTS_FUZZ_OVERLAY_H

#include <assert.h>

#include "protocol/handshake_message.h"
#include "protocol/protocol_limits.h"
#include "tests/support/handshake_scene.h"

/* The two lowest bits choose the message. 'A' is 1, 'D' is 4, and so on: seeds are text. */
#define FLAG_RESIGN 4  /* the attacker has the sender's key */
#define FLAG_RAW 8
#define FLAG_OTHER 16  /* another variant of the scene */

static inline void
overlay_members(struct json *message, const struct json *patch, unsigned depth)
{
    struct json_maker maker = {.root = message};

    for (const struct json *member = json_first(patch); member != NULL; member = json_next(member)) {
        const char *name = json_name(member), *text = json_string(member);
        struct json *own = json_get_mutable(message, name);

        if (text != NULL && strcmp(text, "(remove)") == 0)
            json_remove(message, name);
        else if (depth < 4 && json_is_object(member) && json_is_object(own))
            overlay_members(own, member, depth + 1);
        else
            json_put_copy(&maker, name, member);
    }
    assert(maker.err == ATH_OK);
}

/* The changed message, or NULL: the text is of no use. */
static inline struct json *
overlay(const struct json *honest, unsigned flags, struct ath_slice text)
{
    static const struct json_limits LIMITS = {
        .max_len = 65536, .max_depth = 32, .max_members = 1024, .numbers = JSON_INTEGERS};
    struct json *patch = NULL, *message = NULL;

    if ((flags & FLAG_RAW) != 0)
        return handshake_message_parse(text, NULL, &message) == ATH_OK ? message : NULL;
    if (json_parse(text, &LIMITS, NULL, &patch) == ATH_OK && json_is_object(patch)) {
        message = json_clone(honest);
        overlay_members(message, patch, 0);
    }
    json_free(patch);
    return message;
}

static inline void
overlay_scene(struct scene *scene, struct scene_options options)
{
    static bool ready;

    if (!ready && crypto_init() != ATH_OK)
        abort();
    ready = true;
    options.client_kind = TEST_KEY_ED25519;
    options.server_kind = TEST_KEY_ED25519;
    options.user_kind = TEST_KEY_ED25519;
    scene_init(scene, &options);
}

#endif
