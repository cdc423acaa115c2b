/* athd.json: what is accepted can be used, what is not is told with the file's name. */
#include <assert.h>
#include <string.h>

#include "athd/config.h"
#include "base/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config = {.consent_timeout_s = 120};
    struct why why = {{0}};
    ath_err err = config_read_text(&config, ath_slice_of(data, size), "athd.json", &why);
    size_t i;

    if (err == ATH_OK) {
        assert(config.consent_timeout_s >= 1 && config.consent_timeout_s <= 3600);
        assert(config.hsm_count <= CONFIG_HSMS_MAX);
        for (i = 0; i < config.hsm_count; i++) {
            assert(strchr(config.hsms[i].uri, ':') != NULL);
            assert(config.hsms[i].name == NULL || name_is_valid(config.hsms[i].name));
        }
        assert(config.socket == NULL || config.socket[0] != '\0');
    } else {
        assert(err == ATH_ERR_INVALID_PARAMS);
        assert(strncmp(why.text, "athd.json", 9) == 0);
    }
    config_done(&config);
    return 0;
}
