/*
 * libath_user ME APP KEY SERVER_DID USER_KEY: what a program does that has nothing of athd but
 * libath. ME and APP are the sockets of the agent's and of the application's athd. Ends with 0 if
 * everything was as include/ath/client.h says, else tells what was not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ath/client.h"

#define AUDIENCE "https://mail.example"
#define SESSION_MAX 128

struct side {
    struct ath_client *client;
    char session[SESSION_MAX];
};

static struct side me, app;

/* All that is expected of one call, or of its result. */
static void
must(int holds, const char *what, const struct ath_client *client)
{
    if (holds)
        return;
    fprintf(stderr, "not as expected: %s: %s: %s\n", what, ath_client_error_reason(client),
            ath_client_error_message(client));
    exit(EXIT_FAILURE);
}

#define MUST(side, holds) must((holds), #holds, (side).client)

static struct ath_client *
connect_to(const char *path)
{
    struct ath_client *client = ath_client_new();

    if (client == NULL || ath_client_connect(client, path) != ATH_OK) {
        fprintf(stderr, "%s: no connection\n", path);
        exit(EXIT_FAILURE);
    }
    return client;
}

/* ---- nine steps ---- */

/* A result is JSON; of it only the session's name is wanted here. */
static void
take_session(struct side *side, const char *result)
{
    const char *begin = result == NULL ? NULL : strstr(result, "\"session\":\"");
    const char *end;

    MUST(*side, begin != NULL);
    begin += strlen("\"session\":\"");
    MUST(*side, (end = strchr(begin, '"')) != NULL && end - begin < SESSION_MAX);
    memcpy(side->session, begin, (size_t)(end - begin));
    side->session[end - begin] = '\0';
}

static void
shake_hands(const char *key, const char *server_did, const char *user_key)
{
    static const char *const scopes[] = {"mail:read"};
    struct ath_handshake_request request = {.key = key,
                                            .scopes = scopes,
                                            .scope_count = 1,
                                            .server_did = server_did,
                                            .user_key = user_key};
    struct ath_handshake_step mine = {0}, theirs = {0};
    size_t i;

    MUST(me, ath_handshake_start(me.client, &request, &mine) == ATH_OK);
    MUST(me, mine.send_count == 1);
    MUST(app,
         ath_handshake_accept(app.client, "mail", mine.send[0], "203.0.113.7", &theirs) == ATH_OK);
    while (theirs.state == ATH_HANDSHAKE_WAITING) {
        MUST(app, theirs.send_count == 1);
        MUST(me, ath_handshake_receive(me.client, theirs.send[0], &mine) == ATH_OK);
        MUST(me, mine.state == ATH_HANDSHAKE_WAITING && mine.send_count == 1);
        MUST(app, ath_handshake_receive(app.client, mine.send[0], &theirs) == ATH_OK);
    }
    if (theirs.state == ATH_HANDSHAKE_CONFIRM) {
        char *answer = NULL;

        MUST(app, theirs.confirm != NULL);
        MUST(me, ath_confirmation_answer(me.client, user_key, theirs.confirm, server_did,
                                         &answer) == ATH_OK);
        MUST(app, ath_handshake_receive(app.client, answer, &theirs) == ATH_OK);
        ath_string_free(answer);
    }
    MUST(app, theirs.state == ATH_HANDSHAKE_DONE && theirs.send_count == 2);
    for (i = 0; i < theirs.send_count; i++)
        MUST(me, ath_handshake_receive(me.client, theirs.send[i], &mine) == ATH_OK);
    MUST(me, mine.state == ATH_HANDSHAKE_DONE);
    take_session(&me, mine.result);
    take_session(&app, theirs.result);
    ath_handshake_step_done(&mine);
    ath_handshake_step_done(&theirs);
}

/* ---- what a session is for ---- */

static void
say(struct side *from, struct side *to, const char *words, size_t len, int64_t re, int64_t *ret_seq)
{
    char *jwe = NULL;
    void *opened = NULL;
    size_t opened_len = 0;
    int64_t seq = -2, got_seq = -2, got_re = -2;

    MUST(*from,
         ath_session_seal(from->client, from->session, words, len, re, &jwe, &seq) == ATH_OK);
    MUST(*to, ath_session_open(to->client, to->session, jwe, &opened, &opened_len, &got_seq,
                               &got_re) == ATH_OK);
    MUST(*to, opened_len == len && memcmp(opened, words, len) == 0);
    MUST(*to, ((const char *)opened)[len] == '\0');
    MUST(*to, got_seq == seq && got_re == re);
    ath_bytes_free(opened, opened_len);
    opened = NULL;
    MUST(*to, ath_session_open(to->client, to->session, jwe, &opened, &opened_len, NULL, NULL) ==
                  ATH_ERR_SESSION_REPLAYED);
    MUST(*to, opened == NULL && strcmp(ath_client_error_reason(to->client), "REPLAYED") == 0);
    ath_string_free(jwe);
    *ret_seq = seq;
}

static void
talk(void)
{
    static const char with_zero[] = "read\0my mail";
    int64_t seq, answer_seq;

    say(&me, &app, with_zero, sizeof(with_zero) - 1, -1, &seq);
    say(&app, &me, "done", 4, seq, &answer_seq);
    say(&me, &app, "", 0, answer_seq, &seq);
}

static void
show_token(void)
{
    char *token = NULL, *claims = NULL;
    int64_t expires_at = 0;

    MUST(me, ath_session_token(me.client, me.session, &token, &expires_at) == ATH_OK);
    MUST(me, expires_at > 0);
    MUST(app, ath_token_verify(app.client, "mail", token, "mail:read", app.session, NULL,
                               &claims) == ATH_OK);
    MUST(app, strstr(claims, "\"scope\":\"mail:read\"") != NULL);
    ath_string_free(claims);
    claims = NULL;
    MUST(app, ath_token_verify(app.client, "mail", token, "mail:send", app.session, NULL,
                               &claims) == ATH_ERR_SCOPE_NOT_APPROVED);
    MUST(app, ath_token_verify(app.client, "mail", token, NULL, NULL, NULL, &claims) ==
                  ATH_ERR_INVALID_CREDENTIAL);
    MUST(app, claims == NULL);
    ath_string_free(token);
}

static void
part(struct side *side)
{
    char *jwe = NULL;

    MUST(*side, ath_session_close(side->client, side->session) == ATH_OK);
    MUST(*side, ath_session_seal(side->client, side->session, "x", 1, -1, &jwe, NULL) ==
                    ATH_ERR_SESSION_NOT_FOUND);
    MUST(*side, jwe == NULL);
}

static void
attest(const char *key)
{
    char *jwt = NULL;
    int64_t expires_at = 0;

    MUST(me, ath_attestation_create(me.client, key, AUDIENCE, 60, &jwt, &expires_at) == ATH_OK);
    printf("%s %lld\n", jwt, (long long)expires_at);
    ath_string_free(jwt);
    jwt = NULL;
    MUST(me, ath_attestation_create(me.client, "nobody", AUDIENCE, 0, &jwt, NULL) ==
                 ATH_ERR_KEY_NOT_FOUND);
    MUST(me, jwt == NULL && ath_client_error_code(me.client) != 0);
    MUST(me, ath_attestation_create(me.client, key, AUDIENCE, 3601, &jwt, NULL) ==
                 ATH_ERR_INVALID_PARAMS);
    MUST(me, jwt == NULL);
}

int
main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: libath_user ME APP KEY SERVER_DID USER_KEY\n");
        return EXIT_FAILURE;
    }
    me.client = connect_to(argv[1]);
    app.client = connect_to(argv[2]);
    attest(argv[3]);
    shake_hands(argv[3], argv[4], argv[5]);
    talk();
    show_token();
    part(&me);
    part(&app);
    ath_client_free(me.client);
    ath_client_free(app.client);
    return EXIT_SUCCESS;
}
