/* What this machine's applications offer (service.put): SERVICES/NAME.json, and what athd remembers
 * of each while it runs. */
#ifndef ATHD_SERVICE_STORE_H
#define ATHD_SERVICE_STORE_H

#include "athd/store.h"
#include "protocol/confirmation.h"
#include "protocol/handshake_cookie.h"
#include "protocol/service.h"

struct athd;
struct caller;
struct service_store;
struct tenant;

#define SERVICES_MAX 4096u

/* Stays when a service is put again; counted. */
struct service_memory {
    unsigned references;
    struct confirmation_gate *gate;
    struct cookie_jar *cookies;
    size_t half_open; /* handshakes without a valid M3 */
    size_t sessions;
};

/* One version of a service's rules; counted: a handshake keeps the rules it began with. */
struct service_entry {
    unsigned references;
    struct service *rules;
    struct service_memory *memory;
};

struct service_entry *service_entry_ref(struct service_entry *entry);
void service_entry_free(struct service_entry *entry); /* drops one reference; NULL is fine */

/* Reads the directory (blocking, start-up); damaged files are logged and left out. */
ath_err service_store_open(struct athd *athd, const char *dir, struct why *why,
                           struct service_store **ret_store) ATH_MUST_USE;
void service_store_free(struct service_store *store);

struct service_entry *service_store_find(const struct service_store *store,
                                         const char *name); /* NULL: none */
/* May the caller know of it: at a grant's socket, is its key the grant's? */
bool service_entry_is_for(const struct service_entry *entry, const struct tenant *tenant,
                          const struct caller *caller);
/* One that the caller may know of; NULL: there is none for it. */
struct service_entry *service_store_find_for(const struct tenant *tenant,
                                             const struct caller *caller, const char *name);
/* The name of a service with this server key (any one of them), NULL: none has it. Borrowed. */
const char *service_store_name_of_key(const struct service_store *store, const char *key);
void service_store_each(const struct service_store *store,
                        void (*each)(void *ctx, const struct service_entry *entry), void *ctx);

/* Durable, in place of an older one; in the store when done says ATH_OK. ATH_ERR_EXISTS (another
 * service has this server key: a key belongs to one only), ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM,
 * ATH_ERR_CRYPTO: done is not called; the rules are taken either way. */
ath_err service_store_put(struct service_store *store, struct service *taken_rules,
                          store_done_fn *done, void *ctx) ATH_MUST_USE;
/* Out of the store at once. ATH_ERR_NOT_FOUND, ATH_ERR_NOMEM: done is not called. */
ath_err service_store_remove(struct service_store *store, const char *name, store_done_fn *done,
                             void *ctx) ATH_MUST_USE;

#endif
