#include "hsm/tpm/tpm_transport.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tss2/tss2_tctildr.h>

#include "base/fd.h"
#include "base/log.h"
#include "hsm/tpm/tpm_error.h"

#define TRANSPORT_MAGIC 0x6174685f74637469u /* "ath_tcti" */
#define TRANSPORT_BUFFER 4096u              /* TPM2_MAX_COMMAND_SIZE of the PC Client profile */
#define HEADER_LEN 10u
#define RESEND_PAUSE_MS 1u
#define RESEND_PAUSE_MAX_MS 128u
#define RESEND_TOTAL_MS 5000u
#define ANSWER_TIMEOUT_MS 60000 /* a primary RSA key in a slow TPM takes half of this */

struct transport {
    TSS2_TCTI_CONTEXT_COMMON_V2
        common; /* must be first: this is what TSS2_TCTI_CONTEXT points to */
    int fd;     /* -1: over lower */
    TSS2_TCTI_CONTEXT *lower;
    bool lower_loaded;
    bool waiting;  /* a command is sent and its answer not yet handed up */
    bool answered; /* the answer is in `response` */
    uint8_t command[TRANSPORT_BUFFER];
    size_t command_len;
    uint8_t response[TRANSPORT_BUFFER];
    size_t response_len;
};

static struct transport *
transport_of(TSS2_TCTI_CONTEXT *tcti)
{
    return (struct transport *)(void *)tcti;
}

static uint32_t
read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint16_t
read_tag(const uint8_t *header)
{
    return (uint16_t)((unsigned)header[0] << 8 | header[1]);
}

static TSS2_RC
send_command(struct transport *transport)
{
    if (transport->fd < 0)
        return Tss2_Tcti_Transmit(transport->lower, transport->command_len, transport->command);
    if (fd_write_all(transport->fd, ath_slice_of(transport->command, transport->command_len)) !=
        ATH_OK)
        return TSS2_TCTI_RC_IO_ERROR;
    return TSS2_RC_SUCCESS;
}

static TSS2_RC
wait_readable(int fd, int timeout_ms)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    int n;

    do {
        n = poll(&item, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return TSS2_TCTI_RC_TRY_AGAIN;
    return n < 0 ? TSS2_TCTI_RC_IO_ERROR : TSS2_RC_SUCCESS;
}

/* Reads until the header's length is there. What was read is kept when time runs out. */
static TSS2_RC
receive_over_fd(struct transport *transport, int timeout_ms)
{
    size_t wanted = HEADER_LEN;
    ssize_t n;
    TSS2_RC rc;

    while (transport->response_len < wanted) {
        if ((rc = wait_readable(transport->fd, timeout_ms)) != TSS2_RC_SUCCESS)
            return rc;
        /* A TPM's character device gives the whole response to one read, so ask for all. */
        n = read(transport->fd, transport->response + transport->response_len,
                 sizeof(transport->response) - transport->response_len);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return transport->response_len == 0 ? TSS2_TCTI_RC_IO_ERROR
                                                : TSS2_TCTI_RC_MALFORMED_RESPONSE;
        transport->response_len += (size_t)n;
        if (transport->response_len >= HEADER_LEN)
            wanted = read_u32(transport->response + 2);
        if (wanted < HEADER_LEN || wanted > sizeof(transport->response))
            return TSS2_TCTI_RC_MALFORMED_RESPONSE;
    }
    return TSS2_RC_SUCCESS;
}

static TSS2_RC
receive_over_tcti(struct transport *transport, int timeout_ms)
{
    size_t len = sizeof(transport->response);
    TSS2_RC rc = Tss2_Tcti_Receive(transport->lower, &len, transport->response, timeout_ms);

    if (rc == TSS2_RC_SUCCESS && len > sizeof(transport->response))
        rc = TSS2_TCTI_RC_MALFORMED_RESPONSE;
    if (rc == TSS2_RC_SUCCESS)
        transport->response_len = len;
    return rc;
}

static bool
response_is_sound(const struct transport *transport)
{
    uint16_t asked = read_tag(transport->command), tag;
    uint32_t code;

    if (transport->response_len < HEADER_LEN ||
        read_u32(transport->response + 2) != transport->response_len)
        return false;
    tag = read_tag(transport->response);
    code = read_u32(transport->response + 6);
    if (code == TPM2_RC_SUCCESS)
        return tag == asked;
    return transport->response_len == HEADER_LEN &&
           (tag == TPM2_ST_NO_SESSIONS || tag == TPM2_ST_RSP_COMMAND);
}

static bool
response_asks_for_resend(const struct transport *transport)
{
    uint32_t code = read_u32(transport->response + 6);

    return code != TPM2_RC_SUCCESS && tpm_error_of(code)->action == TPM_ACTION_RESEND;
}

static void
pause_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static TSS2_RC
receive_once(struct transport *transport, int timeout_ms)
{
    TSS2_RC rc = transport->fd < 0 ? receive_over_tcti(transport, timeout_ms)
                                   : receive_over_fd(transport, timeout_ms);

    if (rc == TSS2_RC_SUCCESS && !response_is_sound(transport))
        rc = TSS2_TCTI_RC_MALFORMED_RESPONSE;
    return rc;
}

static TSS2_RC
receive_response(struct transport *transport, int timeout_ms)
{
    unsigned pause = RESEND_PAUSE_MS, total = 0;
    TSS2_RC rc;

    while ((rc = receive_once(transport, timeout_ms)) == TSS2_RC_SUCCESS &&
           response_asks_for_resend(transport) && total < RESEND_TOTAL_MS) {
        log_debug("event=tpm_resend rc=0x%x pause_ms=%u", read_u32(transport->response + 6), pause);
        pause_ms(pause);
        total += pause;
        pause = pause < RESEND_PAUSE_MAX_MS ? pause * 2 : pause;
        transport->response_len = 0;
        if ((rc = send_command(transport)) != TSS2_RC_SUCCESS)
            break;
    }
    return rc;
}

static TSS2_RC
transport_transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command)
{
    struct transport *transport = transport_of(tcti);
    TSS2_RC rc;

    if (transport->waiting)
        return TSS2_TCTI_RC_BAD_SEQUENCE;
    if (size < HEADER_LEN || size > sizeof(transport->command))
        return TSS2_TCTI_RC_BAD_VALUE;
    memcpy(transport->command, command, size);
    transport->command_len = size;
    transport->response_len = 0;
    transport->answered = false;
    if ((rc = send_command(transport)) == TSS2_RC_SUCCESS)
        transport->waiting = true;
    return rc;
}

static TSS2_RC
await_answer(struct transport *transport, int32_t timeout)
{
    TSS2_RC rc;

    if (transport->answered)
        return TSS2_RC_SUCCESS;
    rc = receive_response(transport, timeout < 0 ? ANSWER_TIMEOUT_MS : timeout);
    if (rc == TSS2_TCTI_RC_TRY_AGAIN && timeout < 0)
        rc = TSS2_TCTI_RC_IO_ERROR; /* hung: no better than gone */
    transport->answered = rc == TSS2_RC_SUCCESS;
    transport->waiting = transport->answered || rc == TSS2_TCTI_RC_TRY_AGAIN;
    return rc;
}

static TSS2_RC
transport_receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *response, int32_t timeout)
{
    struct transport *transport = transport_of(tcti);
    TSS2_RC rc;

    if (size == NULL)
        return TSS2_TCTI_RC_BAD_REFERENCE;
    if (!transport->waiting)
        return TSS2_TCTI_RC_BAD_SEQUENCE;
    if ((rc = await_answer(transport, timeout)) != TSS2_RC_SUCCESS)
        return rc;
    if (response == NULL) { /* only asked how long it is */
        *size = transport->response_len;
        return TSS2_RC_SUCCESS;
    }
    transport->waiting = false;
    if (transport->response_len > *size)
        return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    /* SYS reads the response where its command was: leave nothing of that behind it. */
    memset(response + transport->response_len, 0, *size - transport->response_len);
    memcpy(response, transport->response, transport->response_len);
    *size = transport->response_len;
    return TSS2_RC_SUCCESS;
}

static void
transport_finalize(TSS2_TCTI_CONTEXT *tcti)
{
    struct transport *transport = transport_of(tcti);

    fd_close(&transport->fd);
    if (transport->lower != NULL && transport->lower_loaded) {
        Tss2_TctiLdr_Finalize(&transport->lower);
    } else if (transport->lower != NULL) {
        Tss2_Tcti_Finalize(transport->lower);
        free(transport->lower);
    }
    transport->lower = NULL;
}

static TSS2_RC
transport_cancel(TSS2_TCTI_CONTEXT *tcti)
{
    (void)tcti;
    return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC
transport_poll_handles(TSS2_TCTI_CONTEXT *tcti, TSS2_TCTI_POLL_HANDLE *handles, size_t *count)
{
    (void)tcti;
    (void)handles;
    (void)count;
    return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC
transport_locality(TSS2_TCTI_CONTEXT *tcti, uint8_t locality)
{
    (void)tcti;
    (void)locality;
    return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC
transport_sticky(TSS2_TCTI_CONTEXT *tcti, TPM2_HANDLE *handle, uint8_t sticky)
{
    (void)tcti;
    (void)handle;
    (void)sticky;
    return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static struct transport *
transport_new(void)
{
    struct transport *transport = calloc(1, sizeof(*transport));

    if (transport == NULL)
        return NULL;
    transport->fd = -1;
    transport->common.v1.magic = TRANSPORT_MAGIC;
    transport->common.v1.version = 2;
    transport->common.v1.transmit = transport_transmit;
    transport->common.v1.receive = transport_receive;
    transport->common.v1.finalize = transport_finalize;
    transport->common.v1.cancel = transport_cancel;
    transport->common.v1.getPollHandles = transport_poll_handles;
    transport->common.v1.setLocality = transport_locality;
    transport->common.makeSticky = transport_sticky;
    return transport;
}

ath_err
tpm_transport_over_fd(int fd, TSS2_TCTI_CONTEXT **ret_transport)
{
    struct transport *transport = transport_new();

    if (transport == NULL)
        return ATH_ERR_NOMEM;
    transport->fd = fd;
    *ret_transport = (TSS2_TCTI_CONTEXT *)(void *)transport;
    return ATH_OK;
}

ath_err
tpm_transport_over_tcti(TSS2_TCTI_CONTEXT *lower, bool loaded, TSS2_TCTI_CONTEXT **ret_transport)
{
    struct transport *transport = transport_new();

    if (transport == NULL)
        return ATH_ERR_NOMEM;
    transport->lower = lower;
    transport->lower_loaded = loaded;
    *ret_transport = (TSS2_TCTI_CONTEXT *)(void *)transport;
    return ATH_OK;
}

void
tpm_transport_free(TSS2_TCTI_CONTEXT *tcti)
{
    struct transport *transport = transport_of(tcti);

    if (transport == NULL)
        return;
    transport_finalize(tcti);
    explicit_bzero(transport, sizeof(*transport));
    free(transport);
}
