/*
 * JSON: a strict reader, a tree, and two writers. The only place that knows cJSON.
 *
 * json_parse checks the bytes completely before cJSON sees them: UTF-8 (RFC 3629, no surrogates, no
 * overlong forms, no byte order mark), RFC 8259 grammar, no name twice in an object (compared after
 * escapes are decoded), depth and member limits, no text after the value, no lone surrogate escapes
 * and no U+0000. With JSON_INTEGERS (the handshake profile, docs/protocol.md section 1, and the
 * socket) a number is `0` or `-?[1-9][0-9]*` and at most 2^53-1 in absolute value.
 * Trees are wiped when freed. Names are compared byte for byte.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"
#include "base/why.h"

struct json; /* a value; a child belongs to its parent */

enum json_numbers {
    JSON_INTEGERS, /* whole numbers within +-(2^53-1) */
    JSON_DOUBLES,  /* RFC 8259 numbers that fit IEEE 754 doubles (RFC 8785 needs them) */
};

struct json_limits {
    size_t max_len;     /* bytes of the text */
    unsigned max_depth; /* the outermost value is 1 */
    size_t max_members; /* in one object; an array is bounded by the text's length */
    enum json_numbers numbers;
};

/* ATH_ERR_PARSE (why says where: "byte 17: name \"a\" appears twice"), ATH_ERR_LIMIT_EXCEEDED for
 * length, depth and member count, ATH_ERR_NOMEM. */
ath_err json_parse(struct ath_slice text, const struct json_limits *limits, struct why *why,
                   struct json **ret_json) ATH_MUST_USE;

/* Would json_parse accept the text, and is it an object? Nothing is kept. Errors as json_parse. */
ath_err json_check_object(struct ath_slice text, const struct json_limits *limits,
                          struct why *why) ATH_MUST_USE;

/* Objects with comments (// and C style) as in configuration files, else as json_parse. The line of
 * an error begins why ("3: ..."). */
ath_err json_parse_config(struct ath_slice text, const struct json_limits *limits, struct why *why,
                          struct json **ret_json) ATH_MUST_USE;

/* Wipes; NULL is fine. */
void json_free(struct json *json);
/* NULL when out of memory (or json is NULL). */
struct json *json_clone(const struct json *json);

/* ---- reading: all accept NULL and then say "no" ---- */
bool json_is_object(const struct json *json);
bool json_is_array(const struct json *json);
bool json_is_null(const struct json *json);
bool json_is_bool(const struct json *json);
bool json_is_number(const struct json *json);
/* The literal true, nothing else. */
bool json_is_true(const struct json *json);
/* NULL unless it is a string. */
const char *json_string(const struct json *json);
/* False unless it is a whole number within +-(2^53-1). */
bool json_int(const struct json *json, int64_t *ret_value);

/* The member of this name; NULL if absent. */
const struct json *json_get(const struct json *object, const char *name);
struct json *json_get_mutable(struct json *object, const char *name);
/* As json_string and json_int of that member. */
const char *json_get_string(const struct json *object, const char *name);
bool json_get_int(const struct json *object, const char *name, int64_t *ret_value);

/* Members of an object or entries of an array, in order; NULL at the end. */
const struct json *json_first(const struct json *container);
const struct json *json_next(const struct json *child);
/* A member's name; NULL for an array's entry. */
const char *json_name(const struct json *child);
size_t json_count(const struct json *container);

/* ---- changing ---- */
/* Removes and frees; absent is fine. */
void json_remove(struct json *object, const char *name);
/* Removes; the caller owns it. NULL if absent. */
struct json *json_detach(struct json *object, const char *name);
/* The same for the first child of an object or array. */
struct json *json_detach_first(struct json *container);

/* A string that stands alone: valid UTF-8 without NUL. NULL when it is not, or out of memory. */
struct json *json_string_new(struct ath_slice text);

/* ---- building: a maker never fails half-way; json_maker_end says once how it went ---- */
struct json_maker {
    struct json *root;
    ath_err err;
};

void json_object_begin(struct json_maker *maker);
void json_array_begin(struct json_maker *maker);
/* For arrays `name` is NULL. A name that is there already is replaced. NULL text puts nothing. Text
 * that is not UTF-8 or holds U+0000 is ATH_ERR_PARSE, an integer beyond 2^53-1
 * ATH_ERR_LIMIT_EXCEEDED, a name in an array or none in an object ATH_ERR_INTERNAL. */
void json_put_string(struct json_maker *maker, const char *name, const char *text);
void json_put_slice(struct json_maker *maker, const char *name, struct ath_slice text);
void json_put_base64url(struct json_maker *maker, const char *name, struct ath_slice bytes);
void json_put_int(struct json_maker *maker, const char *name, int64_t value);
void json_put_bool(struct json_maker *maker, const char *name, bool value);
void json_put_null(struct json_maker *maker, const char *name);
/* Takes it; NULL stands for an allocation that failed. */
void json_put_take(struct json_maker *maker, const char *name, struct json *taken);
void json_put_copy(struct json_maker *maker, const char *name, const struct json *copied);
/* What inner makes; ends inner. */
void json_put_maker(struct json_maker *maker, const char *name, struct json_maker *inner);

/* The caller owns *ret_json. The first error of all puts. */
ath_err json_maker_end(struct json_maker *maker, struct json **ret_json) ATH_MUST_USE;
/* Drops what was not ended; fine after json_maker_end. */
void json_maker_done(struct json_maker *maker);

/* ---- writing; the caller checks out->err ---- */
/* Compact, members in order. */
void json_write(const struct json *json, struct ath_buf *out);
/* Indented by two spaces, no line end behind it. */
void json_write_pretty(const struct json *json, struct ath_buf *out);
/* RFC 8785. */
void json_canonical(const struct json *json, struct ath_buf *out);

/* Have both the same canonical form? */
bool json_equal(const struct json *a, const struct json *b);

#endif
