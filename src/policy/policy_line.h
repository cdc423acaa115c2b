/* On which line of a text a value stands. The tree of a text does not know lines; but its values
 * come in the same order in both. */
#ifndef POLICY_POLICY_LINE_H
#define POLICY_POLICY_LINE_H

#include "base/json.h"

/* The line, from 1, of the name of `node`, else of the value itself. `text` is JSON with comments
 * that json_parse_config has made `tree` of; `node` is in it, NULL: the tree itself. */
unsigned policy_line_of(struct ath_slice text, const struct json *tree, const struct json *node);

#endif
