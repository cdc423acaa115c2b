/* consent.*: the user's own programs show questions and answer them. */
#include "athd/dispatch.h"

static void
refuse(struct request *request)
{
    request_fail(request, ATH_ERR_METHOD_NOT_FOUND, NULL);
}

void
method_consent_list(struct request *request)
{
    refuse(request);
}

void
method_consent_answer(struct request *request)
{
    refuse(request);
}

void
method_consent_attend(struct request *request)
{
    refuse(request);
}

void
method_consent_environment(struct request *request)
{
    refuse(request);
}

void
method_consent_forget(struct request *request)
{
    refuse(request);
}
