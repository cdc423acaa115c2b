#include "fixture_token.h"

#include <poll.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/clock.h"

struct hsm_key {
    EVP_PKEY *private;
    struct public_key *public;
    bool always_authenticate;
};

struct hsm {
    int dummy;
};

struct token_state token = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct hsm the_token;

/* ---- the token ---- */

/* Every call but signatures: none of those may be running. */
static void
enter(void)
{
    pthread_mutex_lock(&token.lock);
    token.violations += token.signing > 0;
}

static void
leave(void)
{
    pthread_cond_broadcast(&token.changed);
    pthread_mutex_unlock(&token.lock);
}

static ath_err
token_open(const struct hsm_options *options, struct hsm_fault *fault, struct hsm **ret_hsm)
{
    bool no_reader;
    ath_err err;

    (void)options;
    enter();
    err = token.open_err;
    no_reader = token.no_reader;
    token.opens++;
    leave();
    if (err != ATH_OK)
        return why_set(&fault->why, err, "%s", no_reader ? "no reader here" : "no token here");
    *ret_hsm = &the_token;
    return ATH_OK;
}

static void
token_close(struct hsm *hsm)
{
    enter();
    token.closes += hsm != NULL;
    leave();
}

static void
token_info(const struct hsm *hsm, struct hsm_info *ret_info)
{
    (void)hsm;
    enter();
    *ret_info = (struct hsm_info){.kind = "pkcs11",
                                  .algorithms = 2,
                                  .parallel = token.parallel,
                                  .login = token.pad ? HSM_LOGIN_PAD : HSM_LOGIN_PIN,
                                  .tries_left = token.tries_left,
                                  .pin_locked = token.tries_left == 0,
                                  .label = "my token\n\xE2\x80\xAE",
                                  .manufacturer = "us",
                                  .serial = "0815"};
    leave();
}

static ath_err
token_key_open(struct hsm *hsm, struct ath_slice blob, struct hsm_fault *fault,
               struct hsm_key **ret_key)
{
    struct hsm_key *key;
    unsigned char *der = NULL;
    ath_err err;
    int len;

    (void)hsm;
    if (!ath_slice_is(blob, "plain") && !ath_slice_is(blob, "card"))
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS, "not a blob");
    if ((key = calloc(1, sizeof(*key))) == NULL)
        return ATH_ERR_NOMEM;
    key->always_authenticate = ath_slice_is(blob, "card");
    key->private = EVP_EC_gen("P-256");
    len = i2d_PUBKEY(key->private, &der);
    err = public_key_from_der(ath_slice_of(der, (size_t)len), NULL, &key->public);
    OPENSSL_free(der);
    if (err != ATH_OK) {
        EVP_PKEY_free(key->private);
        free(key);
        return err;
    }
    enter();
    token.keys_open++;
    leave();
    *ret_key = key;
    return ATH_OK;
}

static void
token_key_close(struct hsm *hsm, struct hsm_key *key)
{
    (void)hsm;
    EVP_PKEY_free(key->private);
    public_key_free(key->public);
    free(key);
    enter();
    token.keys_open--;
    leave();
}

static const struct public_key *
token_key_public(const struct hsm_key *key)
{
    return key->public;
}

static void
token_key_facts(const struct hsm_key *key, struct hsm_key_facts *ret_facts)
{
    *ret_facts = (struct hsm_key_facts){.generated_inside = true,
                                        .always_authenticate = key->always_authenticate};
}

static struct ath_slice
token_key_blob(const struct hsm_key *key)
{
    (void)key;
    return ath_slice_of_string("canonical");
}

/* The lock is held. */
static ath_err
try_pin(struct ath_slice pin, struct hsm_fault *fault)
{
    if (token.tries_left == 0)
        return why_set(&fault->why, ATH_ERR_PIN_LOCKED, "locked");
    if ((token.pad && pin.len == 0) || (token_is_pin(pin) && !token.is_changed))
        return ATH_OK;
    token.wrong_pins++;
    token.tries_left--;
    fault->native = 0xA0;
    fault->pin_in_doubt = token.is_vague;
    if (token.is_vague)
        return why_set(&fault->why, ATH_ERR_HSM_ERROR, "failed");
    return why_set(&fault->why, ATH_ERR_PIN_INCORRECT, "wrong");
}

static void
make_signature(const struct hsm_key *key, struct ath_slice message, uint8_t *ret_signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t der[128];
    size_t len = sizeof(der);

    if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->private) != 1 ||
        EVP_DigestSign(ctx, der, &len, message.data, message.len) != 1 ||
        signature_from_der(KEY_ES256, ath_slice_of(der, len), ret_signature) != ATH_OK)
        abort();
    EVP_MD_CTX_free(ctx);
}

static ath_err
token_sign_with(struct hsm *hsm, unsigned worker, struct hsm_key *key, struct ath_slice message,
                struct ath_slice pin, struct hsm_fault *fault,
                uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    bool is_bad;
    ath_err err;

    (void)hsm;
    pthread_mutex_lock(&token.lock);
    token.violations += worker >= token.parallel || (!key->always_authenticate && pin.len > 0);
    token.signing++;
    token.most_signing = token.signing > token.most_signing ? token.signing : token.most_signing;
    pthread_cond_broadcast(&token.changed);
    while (token.holds)
        pthread_cond_wait(&token.changed, &token.lock);
    token.signatures++;
    token.pin_signatures += pin.len > 0;
    is_bad = token.bad_signature;
    if ((err = token.sign_err) != ATH_OK)
        (void)why_set(&fault->why, err, "it broke");
    else if (key->always_authenticate)
        err = pin.len == 0 ? ATH_ERR_PIN_REQUIRED : try_pin(pin, fault);
    pthread_mutex_unlock(&token.lock);
    if (err == ATH_OK) {
        make_signature(key, message, ret_signature);
        ret_signature[63] ^= is_bad ? 1 : 0;
    }
    pthread_mutex_lock(&token.lock);
    token.signing--;
    leave();
    return err;
}

static ath_err
token_random(struct hsm *hsm, uint8_t *ret_bytes, size_t len, struct hsm_fault *fault)
{
    (void)hsm;
    (void)fault;
    enter();
    memset(ret_bytes, 'r', len);
    leave();
    return ATH_OK;
}

static ath_err
token_login(struct hsm *hsm, struct ath_slice pin, struct hsm_fault *fault)
{
    ath_err err;

    (void)hsm;
    enter();
    token.logins++;
    err = token.login_err != ATH_OK ? token.login_err : try_pin(pin, fault);
    token.is_logged_in = token.is_logged_in || err == ATH_OK;
    leave();
    return err;
}

static void
token_logout(struct hsm *hsm)
{
    (void)hsm;
    enter();
    token.logouts++;
    token.is_logged_in = false;
    leave();
}

static ath_err
token_check(struct hsm *hsm, struct hsm_fault *fault)
{
    ath_err err;

    (void)hsm;
    enter();
    token.checks++;
    if ((err = token.check_err) != ATH_OK)
        (void)why_set(&fault->why, err, "taken out");
    leave();
    return err;
}

const struct hsm_ops token_ops = {
    .schemes = {"pkcs11:"},
    .open = token_open,
    .close = token_close,
    .info = token_info,
    .key_open = token_key_open,
    .key_close = token_key_close,
    .key_public = token_key_public,
    .key_facts = token_key_facts,
    .key_blob = token_key_blob,
    .sign_with = token_sign_with,
    .random = token_random,
    .login = token_login,
    .logout = token_logout,
    .check = token_check,
};

bool
token_wait(const unsigned *number, unsigned wanted)
{
    uint64_t ends_at = clock_monotonic_ms() + PATIENCE_MS;

    while (token_read(number) < wanted) {
        if (clock_monotonic_ms() > ends_at)
            return false;
        (void)poll(NULL, 0, 1);
    }
    return true;
}

void
token_hold(bool holds)
{
    pthread_mutex_lock(&token.lock);
    token.holds = holds;
    leave();
}

unsigned
token_read(const unsigned *number)
{
    unsigned value;

    pthread_mutex_lock(&token.lock);
    value = *number;
    pthread_mutex_unlock(&token.lock);
    return value;
}

/* ---- the PIN ---- */

static const uint8_t pin_masked[] = {'s' ^ 0x5A, 'e' ^ 0x5A, 'c' ^ 0x5A, 'r' ^ 0x5A,
                                     'e' ^ 0x5A, 't' ^ 0x5A, '-' ^ 0x5A, '7' ^ 0x5A,
                                     '5' ^ 0x5A, '3' ^ 0x5A, '1' ^ 0x5A};

bool
token_is_pin(struct ath_slice pin)
{
    if (pin.len != sizeof(pin_masked))
        return false;
    for (size_t i = 0; i < pin.len; i++)
        if ((pin.data[i] ^ 0x5A) != pin_masked[i])
            return false;
    return true;
}

void
token_put_pin_line(uint8_t line[32], size_t *ret_len)
{
    volatile uint8_t mask = 0x5A; /* so that the compiler does not put it together */

    line[0] = 'D';
    line[1] = ' ';
    for (size_t i = 0; i < sizeof(pin_masked); i++)
        line[2 + i] = pin_masked[i] ^ mask;
    line[2 + sizeof(pin_masked)] = '\n';
    *ret_len = sizeof(pin_masked) + 3;
}

void
token_reset(void)
{
    token = (struct token_state){.lock = PTHREAD_MUTEX_INITIALIZER,
                                 .changed = PTHREAD_COND_INITIALIZER,
                                 .parallel = 2,
                                 .tries_left = 3};
}
