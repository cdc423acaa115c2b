/* Which files a configuration was read from, and what stood in them. */
#include "athd/config.h"

#include <stdlib.h>

ath_err
config_source_add(struct config *config, const char *path, struct ath_slice text)
{
    struct config_source *grown, source;
    ath_err err;

    if ((err = sha256(text, source.sha256)) != ATH_OK)
        return err;
    grown = realloc(config->sources, (config->source_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return ATH_ERR_NOMEM;
    config->sources = grown;
    if ((source.path = ath_strdup(path)) == NULL)
        return ATH_ERR_NOMEM;
    config->sources[config->source_count++] = source;
    return ATH_OK;
}

void
config_source_move(struct config *from, struct config *to)
{
    config_source_done(to);
    to->sources = from->sources;
    to->source_count = from->source_count;
    from->sources = NULL;
    from->source_count = 0;
}

void
config_source_done(struct config *config)
{
    for (size_t i = 0; i < config->source_count; i++)
        free(config->sources[i].path);
    free(config->sources);
    config->sources = NULL;
    config->source_count = 0;
}
