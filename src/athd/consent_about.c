#include "athd/consent_about.h"

#include <stdlib.h>
#include <string.h>

#include "athd/grant.h"

/* ---- who ---- */

void
consent_asker_of(const struct caller *caller, uid_t tenant, struct consent_asker *ret_asker)
{
    *ret_asker = (struct consent_asker){.tenant = tenant, .uid = caller->uid};
    memcpy(ret_asker->grant, caller->grant, sizeof(ret_asker->grant));
    if (caller->through != NULL) {
        ret_asker->grant_serial = caller->through->serial;
        ret_asker->outermost_serial = grant_outermost(caller->through)->serial;
    }
    if (!caller_is_still(caller))
        return;
    memcpy(ret_asker->unit, caller->unit, sizeof(ret_asker->unit));
    memcpy(ret_asker->exe, caller->exe, sizeof(ret_asker->exe));
    ret_asker->exe_file = caller->exe_file;
}

bool
consent_asker_equal(const struct consent_asker *a, const struct consent_asker *b)
{
    return a->tenant == b->tenant && a->uid == b->uid && strcmp(a->grant, b->grant) == 0 &&
           a->grant_serial == b->grant_serial && strcmp(a->unit, b->unit) == 0 &&
           strcmp(a->exe, b->exe) == 0 && a->exe_file.device == b->exe_file.device &&
           a->exe_file.inode == b->exe_file.inode;
}

bool
consent_asker_is_as_one(const struct consent_asker *a, const struct consent_asker *b)
{
    if (a->outermost_serial == 0 || b->outermost_serial == 0)
        return consent_asker_equal(a, b);
    return a->tenant == b->tenant && a->outermost_serial == b->outermost_serial;
}

bool
consent_asker_is_known(const struct consent_asker *asker)
{
    return asker->grant[0] != '\0' || asker->exe[0] != '\0';
}

static void
put_text(struct json_maker *object, const char *name, const char *text)
{
    if (text[0] != '\0')
        json_put_string(object, name, text);
}

void
consent_asker_put(const struct consent_asker *asker, struct json_maker *object, const char *name)
{
    struct json_maker member;

    json_object_begin(&member);
    json_put_int(&member, "uid", asker->uid);
    put_text(&member, "grant", asker->grant);
    put_text(&member, "unit", asker->unit);
    put_text(&member, "exe", asker->exe);
    json_put_maker(object, name, &member);
}

/* ---- what ---- */

static ath_err
copy_texts(const char *const *texts, size_t count, char ***ret_copies, size_t *ret_count)
{
    ath_err err;

    if (count == 0)
        return ATH_OK;
    if ((*ret_copies = calloc(count, sizeof(**ret_copies))) == NULL)
        return ATH_ERR_NOMEM;
    for (; *ret_count < count; (*ret_count)++)
        if ((err = ath_strdup_to(texts[*ret_count], &(*ret_copies)[*ret_count])) != ATH_OK)
            return err;
    return ATH_OK;
}

static ath_err
copy_question(const struct policy_question *question, struct consent_about *about)
{
    ath_err err;

    about->method = question->method;
    about->ttl = question->ttl;
    if ((err = copy_texts(question->audiences, question->audience_count, &about->audiences,
                          &about->audience_count)) != ATH_OK ||
        (err = copy_texts(question->peers, question->peer_count, &about->peers,
                          &about->peer_count)) != ATH_OK)
        return err;
    if (question->scopes == NULL)
        return ATH_OK;
    about->has_scopes = true;
    return scope_list_copy(question->scopes, &about->scopes);
}

ath_err
consent_about_copy(const struct policy_question *question, const char *key, const char *key_did,
                   const char *rest, struct consent_about *ret_about)
{
    struct consent_about about = {.method = ""};
    ath_err err;

    if ((err = ath_strdup_to(key, &about.key)) != ATH_OK ||
        (err = ath_strdup_to(key_did, &about.key_did)) != ATH_OK ||
        (err = ath_strdup_to(rest, &about.rest)) != ATH_OK ||
        (question != NULL && (err = copy_question(question, &about)) != ATH_OK)) {
        consent_about_done(&about);
        return err;
    }
    *ret_about = about;
    return ATH_OK;
}

static void
free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

void
consent_about_done(struct consent_about *about)
{
    free_texts(about->audiences, about->audience_count);
    free_texts(about->peers, about->peer_count);
    scope_list_done(&about->scopes);
    free(about->key);
    free(about->key_did);
    free(about->rest);
    *about = (struct consent_about){.method = ""};
}

ath_err
consent_about_clone(const struct consent_about *about, const struct scope_list *scopes,
                    struct consent_about *ret_about)
{
    const struct policy_question question = {
        .method = about->method,
        .audiences = (const char *const *)about->audiences,
        .audience_count = about->audience_count,
        .peers = (const char *const *)about->peers,
        .peer_count = about->peer_count,
        .scopes = scopes != NULL      ? scopes
                  : about->has_scopes ? &about->scopes
                                      : NULL,
        .ttl = about->ttl,
    };

    return consent_about_copy(&question, about->key, about->key_did, about->rest, ret_about);
}

/* ---- comparing ---- */

static bool
is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
has_text(char *const *texts, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(texts[i], text) == 0)
            return true;
    return false;
}

static bool
is_same_set(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    for (size_t i = 0; i < a_count; i++)
        if (!has_text(b, b_count, a[i]))
            return false;
    for (size_t i = 0; i < b_count; i++)
        if (!has_text(a, a_count, b[i]))
            return false;
    return true;
}

bool
consent_about_covers(const struct consent_about *allowed, const struct consent_about *asked)
{
    return strcmp(allowed->method, asked->method) == 0 && is_same_text(allowed->key, asked->key) &&
           is_same_text(allowed->key_did, asked->key_did) &&
           is_same_text(allowed->rest, asked->rest) &&
           is_same_set(allowed->audiences, allowed->audience_count, asked->audiences,
                       asked->audience_count) &&
           is_same_set(allowed->peers, allowed->peer_count, asked->peers, asked->peer_count) &&
           allowed->has_scopes == asked->has_scopes &&
           scope_list_is_subset(&asked->scopes, &allowed->scopes) && asked->ttl <= allowed->ttl;
}

/* ---- one digest ---- */

/* Each text with its length before it: no two lists run into the same bytes. */
static void
put_part(struct ath_buf *out, struct ath_slice part)
{
    ath_buf_printf(out, "%zu:", part.len);
    ath_buf_put_slice(out, part);
}

static void
put_string(struct ath_buf *out, const char *text)
{
    ath_buf_put_byte(out, text == NULL ? '-' : '+');
    put_part(out, ath_slice_of_string(text));
}

static void
put_strings(struct ath_buf *out, char *const *texts, size_t count)
{
    ath_buf_printf(out, "%zu[", count);
    for (size_t i = 0; i < count; i++)
        put_string(out, texts[i]);
}

static void
put_asker(struct ath_buf *out, const struct consent_asker *asker)
{
    ath_buf_printf(out, "%lu %lu %llu %llu ", (unsigned long)asker->tenant,
                   (unsigned long)asker->uid, (unsigned long long)asker->exe_file.device,
                   (unsigned long long)asker->exe_file.inode);
    ath_buf_printf(out, "%llu ", (unsigned long long)asker->grant_serial);
    put_string(out, asker->grant);
    put_string(out, asker->unit);
    put_string(out, asker->exe);
}

ath_err
consent_about_digest(const struct consent_about *about, const struct consent_asker *asker,
                     struct ath_slice words, uint8_t ret_digest[SHA256_LEN])
{
    struct ath_buf out = {0};
    ath_err err;

    put_asker(&out, asker);
    put_string(&out, about->method);
    put_string(&out, about->key);
    put_string(&out, about->key_did);
    put_string(&out, about->rest);
    put_strings(&out, about->audiences, about->audience_count);
    put_strings(&out, about->peers, about->peer_count);
    put_strings(&out, about->scopes.items, about->scopes.count);
    ath_buf_printf(&out, "%lld ", (long long)about->ttl);
    put_part(&out, words);
    err = out.err != ATH_OK ? out.err : sha256(ath_buf_slice(&out), ret_digest);
    ath_buf_done(&out);
    return err;
}

/* ---- telling ---- */

static void
put_list(struct json_maker *object, const char *name, char *const *texts, size_t count)
{
    struct json_maker list;

    if (count == 0)
        return;
    json_array_begin(&list);
    for (size_t i = 0; i < count; i++)
        json_put_string(&list, NULL, texts[i]);
    json_put_maker(object, name, &list);
}

void
consent_about_put(const struct consent_about *about, struct json_maker *object)
{
    json_put_string(object, "method", about->method);
    json_put_string(object, "key", about->key);
    put_list(object, "audiences", about->audiences, about->audience_count);
    put_list(object, "peers", about->peers, about->peer_count);
    if (about->has_scopes)
        put_list(object, "scopes", about->scopes.items, about->scopes.count);
    if (about->ttl > 0)
        json_put_int(object, "ttl", about->ttl);
}
