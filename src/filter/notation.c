/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The notation of filters: `(in,in)name(out)@POSITION`. */
#include "filter/notation.h"

static const struct {
    struct str names[2]; /* by side */
    enum filter_pos pos;
} positions[] = {
    {{STR_INIT("DEFAULT"), STR_INIT("DEFAULT")}, FILTER_DEFAULT},
    {{STR_INIT("FRONT"), STR_INIT("FRONT")}, FILTER_FRONT},
    {{STR_INIT("MIDDLE"), STR_INIT("MIDDLE")}, FILTER_MIDDLE},
    {{STR_INIT("LAST"), STR_INIT("LAST")}, FILTER_LAST},
    {{STR_INIT("FETCH"), STR_INIT("OBJECT")}, FILTER_FETCH},
    {{STR_INIT("STEVEDORE"), STR_INIT("CLIENT")}, FILTER_STEVEDORE},
};

enum { POSITIONS = sizeof(positions) / sizeof(positions[0]) };

bool filter_pos_of(enum filter_side side, struct str name, enum filter_pos *pos)
{
    for (unsigned n = 0; n < POSITIONS; n++) {
        if (str_eq(positions[n].names[side], name)) {
            *pos = positions[n].pos;
            return true;
        }
    }
    return false;
}

struct str filter_pos_name(enum filter_side side, enum filter_pos pos)
{
    for (unsigned n = 0; n < POSITIONS; n++) {
        if (positions[n].pos == pos) {
            return positions[n].names[side];
        }
    }
    return STR_NONE;
}

void filter_print(const struct filter *filter, struct sb *sb)
{
    sb_chr(sb, '(');
    sb_put(sb, filter->in);
    sb_chr(sb, ')');
    sb_put(sb, filter->name);
    sb_chr(sb, '(');
    sb_put(sb, filter->out);
    sb_chr(sb, ')');
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '+' || c == '.';
}

bool notation_is_name(struct str text)
{
    for (size_t n = 0; n < text.len; n++) {
        if (!is_name_char(text.ptr[n])) {
            return false;
        }
    }
    return text.len > 0;
}

bool notation_is_formats(struct str text)
{
    struct str rest = text;
    do {
        struct str name = str_cut(&rest, ',');
        if (!notation_is_name(name) && !str_eq(name, STR("*"))) {
            return false;
        }
    } while (rest.ptr != NULL);
    return true;
}

/* Whether all names of a list are short enough. */
static bool are_short(struct str list)
{
    struct str rest = list;
    do {
        if (str_cut(&rest, ',').len > NOTATION_NAME_MAX) {
            return false;
        }
    } while (rest.ptr != NULL);
    return true;
}

/* The list in parentheses at the text's begin, which is cut off. */
static bool cut_formats(struct str *text, struct str *formats)
{
    size_t close = str_find(*text, ')');
    if (text->len == 0 || text->ptr[0] != '(' || close == text->len) {
        return false;
    }
    *formats = (struct str){text->ptr + 1, close - 1};
    *text = (struct str){text->ptr + close + 1, text->len - close - 1};
    return notation_is_formats(*formats);
}

static enum rc parse_made_up(struct str text, struct notation *out, const char **why)
{
    struct str rest = text;
    if (!cut_formats(&rest, &out->in)) {
        *why = "expected (FORMAT,...) before the name";
        return RC_MALFORMED;
    }
    size_t open = str_find(rest, '(');
    out->name = (struct str){rest.ptr, open};
    rest = (struct str){rest.ptr + open, rest.len - open};
    if (!notation_is_name(out->name)) {
        *why = "expected a NAME after (FORMAT,...)";
        return RC_MALFORMED;
    }
    if (!cut_formats(&rest, &out->out) || rest.len > 0) {
        *why = "expected (FORMAT) after the name, and nothing more";
        return RC_MALFORMED;
    }
    return are_short(out->in) && are_short(out->out) ? RC_OK : RC_TOO_LONG;
}

enum rc notation_parse(enum filter_side side, struct str text, struct notation *out,
                       const char **why)
{
    struct str rest = text;
    struct str filter = str_cut(&rest, '@');
    *out = (struct notation){.pos = FILTER_DEFAULT};
    *why = "a name is too long";
    if (rest.ptr != NULL && !filter_pos_of(side, rest, &out->pos)) {
        *why = side == FILTER_VFP
                   ? "expected @DEFAULT, @FRONT, @MIDDLE, @LAST, @FETCH or @STEVEDORE"
                   : "expected @DEFAULT, @FRONT, @MIDDLE, @LAST, @OBJECT or @CLIENT";
        return RC_MALFORMED;
    }
    enum rc rc = RC_OK;
    if (filter.len > 0 && filter.ptr[0] == '(') {
        rc = parse_made_up(filter, out, why);
    } else {
        out->name = filter;
        if (!notation_is_name(filter)) {
            *why = "expected NAME or (FORMAT,...)NAME(FORMAT)";
            return RC_MALFORMED;
        }
    }
    return rc == RC_OK && out->name.len > NOTATION_NAME_MAX ? RC_TOO_LONG : rc;
}
