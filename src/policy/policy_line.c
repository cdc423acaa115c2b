#include "policy/policy_line.h"

/* How many values begin before `node` in the tree; found says whether it was met. Depth is bounded
 * by the parser's limit. */
static size_t
count_before(const struct json *tree, const struct json *node, bool *found)
{
    size_t count = 1;

    if (tree == node) {
        *found = true;
        return 0;
    }
    for (const struct json *child = json_first(tree); child != NULL && !*found;
         child = json_next(child))
        count += count_before(child, node, found);
    return count;
}

struct walk {
    struct ath_slice text;
    size_t at;
    unsigned line;
};

static int
peek(const struct walk *walk)
{
    return walk->at < walk->text.len ? walk->text.data[walk->at] : -1;
}

static void
step(struct walk *walk)
{
    walk->line += peek(walk) == '\n';
    walk->at++;
}

static void
skip_comment(struct walk *walk)
{
    bool is_line = walk->at + 1 < walk->text.len && walk->text.data[walk->at + 1] == '/';
    int before = 0;

    step(walk);
    step(walk);
    for (; peek(walk) >= 0; step(walk)) {
        if (is_line ? peek(walk) == '\n' : before == '*' && peek(walk) == '/')
            break;
        before = peek(walk);
    }
    step(walk);
}

static void
skip_blanks(struct walk *walk)
{
    for (; peek(walk) >= 0; step(walk)) {
        while (peek(walk) == '/')
            skip_comment(walk);
        if (peek(walk) != ' ' && peek(walk) != '\t' && peek(walk) != '\n' && peek(walk) != '\r')
            return;
    }
}

static void
skip_string(struct walk *walk)
{
    for (step(walk); peek(walk) >= 0 && peek(walk) != '"'; step(walk))
        if (peek(walk) == '\\')
            step(walk);
    step(walk);
}

static void
skip_word(struct walk *walk)
{
    while (peek(walk) > ' ' && peek(walk) != ',' && peek(walk) != ']' && peek(walk) != '}' &&
           peek(walk) != '/')
        step(walk);
}

/* The line on which the value with this number, or its name, begins. */
static unsigned
line_of_value(struct ath_slice text, size_t wanted)
{
    struct walk walk = {.text = text, .line = 1};
    unsigned line, named = 0;
    size_t count = 0;

    for (skip_blanks(&walk); peek(&walk) >= 0; skip_blanks(&walk)) {
        int c = peek(&walk);

        line = walk.line;
        if (c == ']' || c == '}' || c == ',' || c == ':') {
            step(&walk);
            continue;
        }
        if (c == '"')
            skip_string(&walk);
        else if (c == '{' || c == '[')
            step(&walk);
        else
            skip_word(&walk);
        if (c == '"') {
            skip_blanks(&walk);
            if (peek(&walk) == ':') {
                named = line;
                continue;
            }
        }
        if (count++ == wanted)
            return named != 0 ? named : line;
        named = 0;
    }
    return 1;
}

unsigned
policy_line_of(struct ath_slice text, const struct json *tree, const struct json *node)
{
    bool found = false;
    size_t wanted = node == NULL ? 0 : count_before(tree, node, &found);

    return line_of_value(text, wanted);
}
