#include "hsm/tpm/tpm_info.h"

#include <stdio.h>
#include <string.h>

/* TCG EK Credential Profile 2.5, 2.2.1.4 and 2.2.1.5: RSA 2048, ECC P-256, ECC P-384. */
static const uint32_t ek_certificates[] = {0x01c00002, 0x01c0000a, 0x01c00016};

#define NV_FIRST_EK 0x01c00000u
#define PROPERTY_COUNT 16u
#define VENDOR_WORDS 4u

/* Four bytes of text in a word; padding and what does not print is left out. */
static void
append_word(uint32_t word, char *text, size_t size)
{
    size_t len = strlen(text);

    for (unsigned shift = 32; shift > 0 && len + 1 < size;) {
        char c;

        shift -= 8;
        c = (char)(word >> shift & 0x7fu);
        if (c > ' ' || (c == ' ' && len > 0))
            text[len++] = c;
    }
    text[len] = '\0';
}

static void
trim(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && text[len - 1] == ' ')
        text[--len] = '\0';
}

static void
take_properties(const TPML_TAGGED_TPM_PROPERTY *list, struct hsm_info *info)
{
    uint32_t version[2] = {0, 0};

    for (uint32_t i = 0; i < list->count && i < TPM2_MAX_TPM_PROPERTIES; i++) {
        uint32_t tag = list->tpmProperty[i].property, value = list->tpmProperty[i].value;

        if (tag == TPM2_PT_MANUFACTURER)
            append_word(value, info->manufacturer, sizeof(info->manufacturer));
        else if (tag >= TPM2_PT_VENDOR_STRING_1 && tag < TPM2_PT_VENDOR_STRING_1 + VENDOR_WORDS)
            append_word(value, info->model, sizeof(info->model));
        else if (tag == TPM2_PT_FIRMWARE_VERSION_1)
            version[0] = value;
        else if (tag == TPM2_PT_FIRMWARE_VERSION_2)
            version[1] = value;
    }
    trim(info->manufacturer);
    trim(info->model);
    (void)snprintf(info->firmware, sizeof(info->firmware), "%u.%u.%u.%u", version[0] >> 16,
                   version[0] & 0xffffu, version[1] >> 16, version[1] & 0xffffu);
}

static void
take_curves(const TPML_ECC_CURVE *list, struct hsm_info *info)
{
    for (uint32_t i = 0; i < list->count && i < TPM2_MAX_ECC_CURVES; i++) {
        if (list->eccCurves[i] == TPM2_ECC_NIST_P256)
            info->algorithms |= 1u << KEY_ES256;
        if (list->eccCurves[i] == TPM2_ECC_NIST_P384)
            info->algorithms |= 1u << KEY_ES384;
    }
}

static void
take_indices(const TPML_HANDLE *list, struct hsm_info *info)
{
    for (uint32_t i = 0; i < list->count && i < TPM2_MAX_CAP_HANDLES; i++) {
        for (size_t k = 0; k < sizeof(ek_certificates) / sizeof(ek_certificates[0]); k++)
            info->has_ek_certificate =
                info->has_ek_certificate || list->handle[i] == ek_certificates[k];
    }
}

ath_err
tpm_info_read(struct tpm_context *context, struct hsm_fault *fault, struct hsm_info *ret_info)
{
    struct hsm_info info = {.kind = "tpm"};
    TPMS_CAPABILITY_DATA data = {0};
    ath_err err;

    err = tpm_context_capability(context, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_MANUFACTURER,
                                 PROPERTY_COUNT, fault, &data);
    if (err != ATH_OK)
        return err;
    take_properties(&data.data.tpmProperties, &info);
    err =
        tpm_context_capability(context, TPM2_CAP_ECC_CURVES, 0, TPM2_MAX_ECC_CURVES, fault, &data);
    if (err != ATH_OK)
        return err;
    take_curves(&data.data.eccCurves, &info);
    err = tpm_context_capability(context, TPM2_CAP_HANDLES, NV_FIRST_EK, TPM2_MAX_CAP_HANDLES,
                                 fault, &data);
    if (err != ATH_OK)
        return err;
    take_indices(&data.data.handles, &info);
    *ret_info = info;
    return ATH_OK;
}
