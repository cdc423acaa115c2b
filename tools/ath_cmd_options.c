/* From words to params, as the command's table says. */
#include "ath_cmd.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"
#include "base/clock.h"

#define OPTIONS_MAX 32

static const struct json_limits content_limits = {
    .max_len = 1024 * 1024, .max_depth = 64, .max_members = 65536, .numbers = JSON_DOUBLES};

static ath_err ATH_PRINTF(1, 2) usage_error(const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    cmd_error("%s", text);
    return ATH_ERR_USAGE;
}

/* "--ttl", or what the help calls the place. */
static const char *
name_of(const struct cmd_option *option)
{
    return option->flag != NULL ? option->flag : option->value;
}

/* ---- putting a value where its param says ---- */

/* A maker over an object that belongs to a tree: what is put lands there. */
static struct json_maker
maker_over(struct json *object)
{
    return (struct json_maker){.root = object, .err = ATH_OK};
}

/* The child `name` of object, made if it is not there. */
static struct json *
child_of(struct json *object, const char *name, bool is_array)
{
    struct json_maker outer = maker_over(object), inner;

    if (json_get(object, name) == NULL) {
        if (is_array)
            json_array_begin(&inner);
        else
            json_object_begin(&inner);
        json_put_maker(&outer, name, &inner);
    }
    return json_get_mutable(object, name);
}

/* The object that the last part of param goes into, and that part. */
static struct json *
place_of(struct json *params, const char *param, const char **ret_name)
{
    const char *dot = strchr(param, '.');
    char first[64];

    if (dot == NULL) {
        *ret_name = param;
        return params;
    }
    snprintf(first, sizeof(first), "%.*s", (int)(dot - param), param);
    return place_of(child_of(params, first, false), dot + 1, ret_name);
}

/* Adds the words of text (spaces separate them). */
static ath_err
put_words(struct json *array, const char *text)
{
    struct json_maker maker = maker_over(array);

    while (*text != '\0') {
        size_t len = strcspn(text, " ");

        if (len > 0)
            json_put_slice(&maker, NULL, ath_slice_of(text, len));
        text += len + (text[len] == ' ' ? 1 : 0);
    }
    return maker.err;
}

static ath_err
put_pair(const struct cmd_option *option, struct json *object, const char *name, const char *value)
{
    const char *equals = strchr(value, '=');
    struct json *map = child_of(object, name, false);
    struct json_maker maker = maker_over(map);
    char key[600];

    if (equals == NULL || equals == value || (size_t)(equals - value) >= sizeof(key))
        return usage_error("%s takes %s, not %s", name_of(option), option->value, value);
    snprintf(key, sizeof(key), "%.*s", (int)(equals - value), value);
    if (option->kind == CMD_MAP_LIST)
        return put_words(child_of(map, key, true), equals + 1);
    json_put_string(&maker, key, equals + 1);
    return maker.err;
}

static void
trim_end(struct ath_buf *text)
{
    while (text->len > 0 && strchr(" \t\r\n", text->data[text->len - 1]) != NULL)
        text->len--;
}

static ath_err
put_json(const struct cmd_option *option, struct json_maker *object, const char *name,
         struct ath_slice text)
{
    struct why why = {""};
    struct json *value = NULL;
    ath_err err = json_parse(text, &content_limits, &why, &value);

    if (err != ATH_OK)
        return usage_error("%s: this is not JSON: %s", name_of(option), why_text(&why, err));
    json_put_take(object, name, value);
    return object->err;
}

static ath_err
put_content(const struct cmd_option *option, struct json_maker *object, const char *name,
            const char *value)
{
    bool is_secret = option->kind == CMD_SECRET || option->kind == CMD_BYTES;
    struct ath_buf content = {0};
    ath_err err = cmd_input_read(name_of(option), value, !is_secret, &content);

    if (err != ATH_OK)
        goto out;
    if (option->kind == CMD_BYTES) {
        json_put_base64url(object, name, ath_buf_slice(&content));
        err = object->err;
        goto out;
    }
    if (option->kind != CMD_PUBLIC_KEY)
        trim_end(&content);
    if (option->kind == CMD_JSON ||
        (option->kind == CMD_PUBLIC_KEY && content.len > 0 && content.data[0] == '{')) {
        err = put_json(option, object, name, ath_buf_slice(&content));
        goto out;
    }
    if (memchr(content.data != NULL ? (const char *)content.data : "", '\0', content.len) != NULL)
        err = usage_error("%s is not text", name_of(option));
    else
        json_put_slice(object, name, ath_buf_slice(&content));
    if (err == ATH_OK && object->err != ATH_OK)
        err = usage_error("%s is not UTF-8 text", name_of(option));
out:
    ath_buf_done(&content);
    return err;
}

static const char *
forms_of(enum cmd_kind kind)
{
    if (kind == CMD_TIME)
        return "2027-01-31, 2027-01-31T10:00:00Z, Unix seconds, or +30d from now";
    return kind == CMD_DURATION ? "seconds, or 5m, 2h, 30d" : "a whole number";
}

static ath_err
put_number(const struct cmd_option *option, struct json_maker *object, const char *name,
           const char *value)
{
    int64_t number = 0;
    bool understood;

    if (option->kind == CMD_TIME)
        understood = cmd_input_time(value, clock_now(), &number);
    else
        understood = cmd_input_duration(value, &number) &&
                     (option->kind == CMD_DURATION || strspn(value, "0123456789") == strlen(value));
    if (!understood)
        return usage_error("%s takes %s, not %s", name_of(option), forms_of(option->kind), value);
    json_put_int(object, name, number);
    return object->err;
}

static ath_err
put_value(const struct cmd_option *option, struct json *target, const char *name, const char *value)
{
    struct json_maker object = maker_over(target);
    struct json_maker inner;

    switch (option->kind) {
    case CMD_TEXT:
        json_put_string(&object, name, value);
        break;
    case CMD_INT:
    case CMD_DURATION:
    case CMD_TIME:
        return put_number(option, &object, name, value);
    case CMD_TRUE:
        json_put_bool(&object, name, true);
        break;
    case CMD_BOOL:
        if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
            return usage_error("%s takes yes or no, not %s", name_of(option), value);
        json_put_bool(&object, name, strcmp(value, "yes") == 0);
        break;
    case CMD_LIST:
        return put_words(child_of(target, name, true), value);
    case CMD_SERVER:
        json_object_begin(&inner);
        json_put_string(&inner, strncmp(value, "did:", 4) == 0 ? "did" : "origin", value);
        json_put_maker(&object, name, &inner);
        break;
    case CMD_MAP:
    case CMD_MAP_LIST:
        return put_pair(option, target, name, value);
    case CMD_CONTENT:
    case CMD_SECRET:
    case CMD_BYTES:
    case CMD_JSON:
    case CMD_PUBLIC_KEY:
        return put_content(option, &object, name, value);
    case CMD_WORDS: /* they are the context's, and need not be UTF-8 */
        break;
    }
    return object.err;
}

static ath_err
put_option(struct cmd_context *context, const struct cmd_option *option, const char *value)
{
    const char *name = NULL;
    struct json *target;

    if (option->param == NULL) /* for the command's own code */
        return put_value(option, context->extra, name_of(option), value);
    target = place_of(context->params, option->param, &name);
    return put_value(option, target, name, value);
}

/* ---- reading the words ---- */

static bool
value_of_global(int argc, char **argv, int *index, const char *flag, const char **ret_value)
{
    size_t len = strlen(flag);

    if (strncmp(argv[*index], flag, len) != 0)
        return false;
    if (argv[*index][len] == '=') {
        *ret_value = argv[*index] + len + 1;
        return true;
    }
    if (argv[*index][len] != '\0')
        return false;
    *ret_value = *index + 1 < argc ? argv[++*index] : NULL;
    return true;
}

bool
cmd_global_flag(struct cmd_context *context, int argc, char **argv, int *index, ath_err *ret_err)
{
    const char *flag = argv[*index], *value = "";
    int64_t seconds = 0;

    if (strcmp(flag, "--json") == 0)
        context->json = true;
    else if (strcmp(flag, "-q") == 0 || strcmp(flag, "--quiet") == 0)
        context->quiet = true;
    else if (value_of_global(argc, argv, index, "--socket", &value))
        context->socket = value;
    else if (value_of_global(argc, argv, index, "--trace", &value))
        context->trace = value;
    else if (value_of_global(argc, argv, index, "--field", &value))
        context->field = value;
    else if (!value_of_global(argc, argv, index, "--timeout", &value))
        return false;
    else if (value != NULL && cmd_input_duration(value, &seconds) && seconds > 0 &&
             seconds < 1000000)
        context->timeout_ms = (int)seconds * 1000;
    else
        value = NULL;
    *ret_err = value == NULL ? usage_error("%s: its value is missing or wrong", flag) : ATH_OK;
    return true;
}

/* The option that word begins; *ret_value where the word has it too ("--ttl=5m"). */
static const struct cmd_option *
find_flag(const struct cmd *command, const char *word, const char **ret_value)
{
    const struct cmd_option *option;

    *ret_value = NULL;
    for (option = command->options; option->help != NULL; option++) {
        size_t len = option->flag == NULL ? 0 : strlen(option->flag);

        if (len == 0 || strncmp(word, option->flag, len) != 0)
            continue;
        if (word[len] == '=')
            *ret_value = word + len + 1;
        if (word[len] == '=' || word[len] == '\0')
            return option;
    }
    return NULL;
}

/* The nth option that has a place instead of a name. A list that is last takes all that follow. */
static const struct cmd_option *
find_place(const struct cmd *command, int nth)
{
    const struct cmd_option *option, *last = NULL;

    for (option = command->options; option->help != NULL; option++) {
        if (option->flag != NULL)
            continue;
        last = option;
        if (nth-- == 0)
            return option;
    }
    return last != NULL && last->kind == CMD_LIST ? last : NULL;
}

struct reading {
    struct cmd_context *context;
    bool given[OPTIONS_MAX];
    int places;
    bool only_places; /* behind "--" */
};

static ath_err
read_option(struct reading *reading, const struct cmd_option *option, const char *value)
{
    size_t index = (size_t)(option - reading->context->command->options);
    bool may_repeat =
        option->kind == CMD_LIST || option->kind == CMD_MAP || option->kind == CMD_MAP_LIST;

    if (reading->given[index] && !may_repeat)
        return usage_error("%s is given twice", name_of(option));
    reading->given[index] = true;
    return put_option(reading->context, option, value);
}

/* Sessions and handshakes are called by 16 random bytes in base64url, a handshake on record by a
 * hash (T5); they may begin with '-'. No flag looks like one. */
static bool
looks_like_id(const char *word)
{
    struct ath_slice id = ath_slice_of_string(word);

    return base64url_is_alphabet(id, BASE64URL_LEN(16), BASE64URL_LEN(16)) ||
           base64url_is_alphabet(id, BASE64URL_LEN(32), BASE64URL_LEN(32));
}

static ath_err
read_word(struct reading *reading, int argc, char **argv, int *index)
{
    const struct cmd *command = reading->context->command;
    const char *word = argv[*index], *value = NULL;
    const struct cmd_option *option;
    char name[64];

    option = reading->only_places ? NULL : find_flag(command, word, &value);
    if (!reading->only_places && word[0] == '-' && word[1] != '\0' &&
        (option != NULL || !looks_like_id(word))) {
        if (option == NULL)
            return usage_error("%s: no such option; see ath %s --help", word,
                               cmd_name(command, name, sizeof(name)));
        if (option->value == NULL)
            return value == NULL ? read_option(reading, option, "")
                                 : usage_error("%s takes no value", option->flag);
        if (value == NULL && (value = *index + 1 < argc ? argv[++*index] : NULL) == NULL)
            return usage_error("%s: its value (%s) is missing", option->flag, option->value);
        return read_option(reading, option, value);
    }
    if ((option = find_place(command, reading->places)) == NULL)
        return usage_error("%s: one argument too many; see ath %s --help", word,
                           cmd_name(command, name, sizeof(name)));
    reading->places++;
    if (option->kind == CMD_WORDS) {
        reading->context->words = argv + *index; /* argv ends in NULL */
        *index = argc;
    }
    return read_option(reading, option, word);
}

static bool
is_given(const struct reading *reading, const char *flag)
{
    const struct cmd_option *options = reading->context->command->options, *option;

    for (option = options; option->help != NULL; option++)
        if (option->flag != NULL && strcmp(option->flag, flag) == 0)
            return reading->given[option - options];
    return false;
}

/* One of two that exclude each other. */
static ath_err
check_either(const struct reading *reading)
{
    const struct cmd *command = reading->context->command;
    const char *const *either = command->either;
    char name[64];

    if (either[0] == NULL || is_given(reading, either[0]) != is_given(reading, either[1]))
        return ATH_OK;
    if (is_given(reading, either[0]))
        return usage_error("%s and %s exclude each other", either[0], either[1]);
    return usage_error("%s or %s is missing; see ath %s --help", either[0], either[1],
                       cmd_name(command, name, sizeof(name)));
}

/* What was not given: its fallback, or it is missing. */
static ath_err
read_missing(struct reading *reading)
{
    const struct cmd *command = reading->context->command;
    const struct cmd_option *option;
    char name[64];
    ath_err err;

    for (option = command->options; option->help != NULL; option++) {
        if (reading->given[option - command->options])
            continue;
        if (option->required)
            return usage_error("%s is missing; see ath %s --help", name_of(option),
                               cmd_name(command, name, sizeof(name)));
        if (option->fallback != NULL &&
            (err = put_option(reading->context, option, option->fallback)) != ATH_OK)
            return err;
    }
    return check_either(reading);
}

ath_err
cmd_options_read(struct cmd_context *context, int argc, char **argv, bool *ret_help)
{
    struct reading reading = {.context = context};
    struct json_maker params;
    ath_err err = ATH_OK;
    int i;

    for (i = 0; i < argc; i++) {
        if (!reading.only_places &&
            (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            *ret_help = true;
            return ATH_OK;
        }
        if (!reading.only_places && strcmp(argv[i], "--") == 0)
            reading.only_places = true;
        else if (reading.only_places || !cmd_global_flag(context, argc, argv, &i, &err))
            err = read_word(&reading, argc, argv, &i);
        if (err != ATH_OK)
            return err;
    }
    if ((err = read_missing(&reading)) != ATH_OK)
        return err;
    params = maker_over(context->params);
    json_put_string(&params, "trace", context->trace);
    return params.err;
}
