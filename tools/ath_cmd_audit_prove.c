/* `ath audit prove` and `ath audit consistency`. */
#include <stdlib.h>

#include "ath_cmd_audit.h"
#include "protocol/audit_proof.h"

/* UINT64_MAX, the newest, where it is not given. */
static uint64_t
size_of(const struct cmd_context *context, const char *name)
{
    int64_t size = 0;

    return json_get_int(context->extra, name, &size) ? (uint64_t)size : UINT64_MAX;
}

static int
write_proof(const struct cmd_context *context, const struct json *proof)
{
    struct ath_buf text = {.max = 1024 * 1024};
    int status = EXIT_FAILURE;

    json_write(proof, &text);
    ath_buf_put_byte(&text, '\n');
    if (text.err != ATH_OK)
        cmd_error("%s", ath_err_sentence(text.err));
    else if (cmd_audit_write(context, "--output", ath_buf_slice(&text)))
        status = EXIT_SUCCESS;
    ath_buf_done(&text);
    return status;
}

typedef ath_err make_proof_fn(const char *dir, uint64_t first, uint64_t second, struct why *why,
                              struct json **ret_proof);

/* Both proofs are made of two numbers. */
static int
run(const struct cmd_context *context, make_proof_fn *make, const char *first, const char *second)
{
    char *dir = cmd_audit_dir(context);
    struct json *proof = NULL;
    struct why why = {""};
    int status;
    ath_err err;

    if (dir == NULL)
        return EXIT_FAILURE;
    err = make(dir, size_of(context, first), size_of(context, second), &why, &proof);
    status = err == ATH_OK ? write_proof(context, proof) : cmd_audit_fail(dir, err, &why);
    json_free(proof);
    free(dir);
    return status;
}

int
cmd_run_audit_prove(struct cmd_context *context)
{
    return run(context, audit_proof_inclusion, "INDEX", "--size");
}

int
cmd_run_audit_consistency(struct cmd_context *context)
{
    return run(context, audit_proof_consistency, "FROM", "TO");
}
