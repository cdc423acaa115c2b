/* What grant.create is given and what a grant's file holds: what is accepted is not wider than
 * itself, has nothing that is the owner's, and is written as it is read. */
#include <assert.h>
#include <stdlib.h>

#include "athd/grant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
look_at_limits(const struct json *object)
{
    struct policy_rules *limits = NULL;
    struct why why = {{0}};

    if (grant_limits_new(object, 1000, NULL, &why, &limits) != ATH_OK) {
        assert(why.text[0] != '\0');
        return;
    }
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++)
        assert(!policy_rule_has_method(grant_limits_rule(limits), (enum rpc_method_id)i) ||
               !grant_limits_is_owners((enum rpc_method_id)i));
    assert(grant_limits_check_narrower(grant_limits_rule(limits), grant_limits_rule(limits),
                                       &why) == ATH_OK);
    policy_rules_free(limits);
}

static void
look_at_file(const struct json *object)
{
    struct grant_file file = {.grant = NULL}, again = {.grant = NULL};
    struct json *first = NULL, *second = NULL;
    struct why why = {{0}};

    if (grant_decode(object, "g", 1000, &why, &file) != ATH_OK) {
        assert(why.text[0] != '\0');
        return;
    }
    assert(grant_encode(file.grant, file.grant->uses, &first) == ATH_OK);
    assert(grant_decode(first, "g", 1000, &why, &again) == ATH_OK);
    assert(grant_encode(again.grant, again.grant->uses, &second) == ATH_OK);
    assert(json_equal(first, second));
    json_free(first);
    json_free(second);
    grant_file_done(&file);
    grant_file_done(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct json_limits limits = {1u << 20, 32, 65536, JSON_INTEGERS};
    struct json *object = NULL;

    if (json_parse(ath_slice_of(data, size), &limits, NULL, &object) == ATH_OK &&
        json_is_object(object)) {
        look_at_limits(object);
        look_at_file(object);
    }
    json_free(object);
    return 0;
}
