/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* One tag of ESI: <esi:include>, <esi:remove>, <esi:comment>, and what is wrong with them.
 *
 * All its bytes are skipped, so nothing has to be held; of an include's attributes a bounded text
 * is gathered.  Tolerance, complaints and their words are those of Varnish's parser, because people
 * have documents and log filters for it; but nothing of one tag is taken over into the next, and a
 * host or URL that could not stand in a request's head is refused here. */
#include "base/check.h"
#include "base/sb.h"
#include "filter/esi_priv.h"

static const struct {
    struct str name;
    enum esi_element element;
} elements[] = {
    {STR_INIT("include"), ESI_E_INCLUDE},
    {STR_INIT("remove"), ESI_E_REMOVE},
    {STR_INIT("comment"), ESI_E_COMMENT},
};

static const struct {
    struct str text;
    char c;
} entities[] = {
    {STR_INIT("&apos;"), '\''}, {STR_INIT("&quot;"), '"'}, {STR_INIT("&lt;"), '<'},
    {STR_INIT("&gt;"), '>'},    {STR_INIT("&amp;"), '&'},
};

void esi__tag_begin(struct esi_parser *p, bool is_end_tag)
{
    p->state = ESI_S_NAME;
    p->is_end_tag = is_end_tag;
    p->is_empty = p->may_attr = p->is_value_kept = false;
    p->has_src = p->goes_on = false;
    p->name_len = 0;
}

static void lose(struct esi_parser *p, struct str why)
{
    esi__note(p, ESI_ERROR, why);
    p->state = ESI_S_TAG_LOST;
}

/* XML's names, as far as single bytes go. */
static bool begins_name(char c)
{
    unsigned char u = (unsigned char)c;
    return (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || u == ':' || u == '_' ||
           (u >= 0xc0 && u != 0xd7 && u != 0xf7);
}

static bool is_in_name(char c)
{
    return begins_name(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '\xb7';
}

/* ---- elements ---- */

static void begin_element(struct esi_parser *p, enum esi_element element)
{
    p->element = element;
    p->state = ESI_S_TAG;
    if (element == ESI_E_REMOVE) {
        return;
    }
    bool is_include = element == ESI_E_INCLUDE;
    if (p->is_removing) {
        lose(p, is_include ? STR("ESI 1.0 <esi:include> element nested in <esi:remove>")
                           : STR("ESI 1.0 <esi:comment> element nested in <esi:remove>"));
    } else if (p->is_end_tag) {
        lose(p, is_include ? STR("ESI 1.0 </esi:include> illegal end-tag")
                           : STR("ESI 1.0 </esi:comment> illegal end-tag"));
    }
}

/* As many letters as are needed to tell the elements apart from all others. */
static bool at_name(struct esi_parser *p, char c)
{
    if (p->name_len < sizeof p->name) {
        p->name[p->name_len] = c;
    }
    for (size_t n = 0; n < sizeof elements / sizeof elements[0]; n++) {
        struct str name = elements[n].name;
        if (memcmp(name.ptr, p->name, p->name_len + 1) == 0) {
            if (++p->name_len == name.len) {
                begin_element(p, elements[n].element);
            }
            return true;
        }
    }
    lose(p, STR("ESI 1.0 <esi:bogus> element"));
    return false;
}

static void end_remove(struct esi_parser *p)
{
    if (p->is_empty) {
        esi__note(p, ESI_ERROR, STR("ESI 1.0 <esi:remove/> not legal"));
    } else if (p->is_removing && !p->is_end_tag) {
        esi__note(p, ESI_ERROR, STR("ESI 1.0 <esi:remove> already open"));
    } else if (!p->is_removing && p->is_end_tag) {
        esi__note(p, ESI_ERROR, STR("ESI 1.0 <esi:remove> not open"));
    } else {
        p->is_removing = !p->is_end_tag;
    }
}

/* ---- where an include points ---- */

/* Everything of the document's path up to its last slash. */
static struct str directory(struct str url)
{
    struct str path = {url.ptr, str_find(url, '?')};
    while (path.len > 0 && path.ptr[path.len - 1] != '/') {
        path.len--;
    }
    return path.len > 0 ? (struct str){path.ptr, path.len - 1} : path;
}

/* The character that the text begins with, as XML means it; *taken: how long it is written. */
static char decoded(struct str text, size_t *taken)
{
    for (size_t n = 0; text.ptr[0] == '&' && n < sizeof entities / sizeof entities[0]; n++) {
        if (str_starts(text, entities[n].text)) {
            *taken = entities[n].text.len;
            return entities[n].c;
        }
    }
    *taken = 1;
    return text.ptr[0];
}

/* False: it is too long, or could not be asked for. */
static bool make_url(struct esi_parser *p, struct str path, struct str *url)
{
    struct sb sb = sb_of(p->url, sizeof p->url);
    if (path.len == 0 || path.ptr[0] != '/') {
        sb_put(&sb, directory(p->base));
        sb_chr(&sb, '/');
    }
    while (path.len > 0) {
        size_t taken;
        sb_chr(&sb, decoded(path, &taken));
        path.ptr += taken;
        path.len -= taken;
    }
    *url = sb_str(&sb);
    return !sb.overflow && esi__is_clean(*url);
}

/* Splits the host off an absolute URL.  False: there is nothing to ask for. */
static bool split_host(struct str *src, size_t scheme_len, struct str *host)
{
    struct str rest = {src->ptr + scheme_len, src->len - scheme_len};
    *host = (struct str){rest.ptr, str_find(rest, '/')};
    *src = (struct str){rest.ptr + host->len, rest.len - host->len};
    return host->len > 0 && src->len > 0 && esi__is_clean(*host);
}

static void end_include(struct esi_parser *p)
{
    if (!p->is_empty) {
        esi__note(p, ESI_WARNING, STR("ESI 1.0 <esi:include> lacks final '/'"));
    }
    if (!p->has_src) {
        esi__note(p, ESI_ERROR, STR("ESI 1.0 <esi:include> lacks src attr"));
        return;
    }
    struct esi_event event = {.kind = ESI_INCLUDE, .goes_on = p->goes_on};
    struct str src = {p->src, p->src_len};
    bool is_good = true;
    if (str_starts(src, STR("http://"))) {
        is_good = split_host(&src, 7, &event.host);
    } else if (str_starts(src, STR("https://"))) {
        if ((p->flags & ESI_IGNORE_HTTPS) == 0) {
            esi__note(p, ESI_WARNING, STR("ESI 1.0 <esi:include> with https:// ignored"));
            return;
        }
        esi__note(p, ESI_WARNING, STR("ESI 1.0 <esi:include> https:// treated as http://"));
        is_good = split_host(&src, 8, &event.host);
    }
    if (!is_good || !make_url(p, src, &event.url)) {
        esi__note(p, ESI_ERROR, STR("ESI 1.0 <esi:include> invalid src= URL"));
        return;
    }
    esi__push(p, &event);
}

/* ---- tags ---- */

static void end_tag(struct esi_parser *p)
{
    p->state = ESI_S_TEXT;
    switch (p->element) {
    case ESI_E_INCLUDE:
        end_include(p);
        break;
    case ESI_E_REMOVE:
        end_remove(p);
        break;
    case ESI_E_COMMENT:
        if (!p->is_empty) {
            esi__note(p, ESI_ERROR, STR("ESI 1.0 <esi:comment> needs final '/'"));
        }
        break;
    }
}

static bool at_tag(struct esi_parser *p, char c)
{
    if (c == '>') {
        end_tag(p);
        return true;
    }
    if (p->is_empty) {
        lose(p, STR("XML 1.0 '>' does not follow '/' in tag"));
        return false;
    }
    if (esi__is_blank(c)) {
        p->may_attr = true;
        return true;
    }
    if (c == '/') {
        p->is_empty = true;
        return true;
    }
    if (p->may_attr && begins_name(c)) {
        p->state = ESI_S_ATTR;
        p->name_len = 0;
        return false;
    }
    lose(p, STR("XML 1.0 Illegal attribute start char"));
    return false;
}

/* ---- attributes ---- */

static bool name_is(const struct esi_parser *p, struct str name)
{
    return p->name_len == name.len && memcmp(p->name, name.ptr, name.len) == 0;
}

static bool at_attr(struct esi_parser *p, char c)
{
    if (is_in_name(c)) {
        if (p->name_len < sizeof p->name) {
            p->name[p->name_len++] = c;
        }
        return true;
    }
    if (c == '=') {
        p->is_value_kept =
            p->element == ESI_E_INCLUDE && (name_is(p, STR("src")) || name_is(p, STR("onerror")));
        p->value_len = 0;
        p->state = ESI_S_DELIM;
        return true;
    }
    if (c == '>' || c == '/' || c == ' ' || c == '\t') {
        p->state = ESI_S_TAG;
        return false;
    }
    lose(p, STR("XML 1.0 Illegal attr char"));
    return false;
}

static bool at_delim(struct esi_parser *p, char c)
{
    if (c == ' ' || c == '\t') {
        lose(p, STR("XML 1.0 Illegal attribute delimiter"));
        return false;
    }
    p->state = ESI_S_VALUE;
    p->delim = c == '"' || c == '\'' ? c : ' ';
    return p->delim != ' ';
}

static void end_src(struct esi_parser *p)
{
    if (p->has_src) {
        lose(p, STR("ESI 1.0 <esi:include> has multiple src= attributes"));
        return;
    }
    for (size_t n = 0; n < p->value_len; n++) {
        if (esi__is_blank(p->value[n])) {
            lose(p, STR("ESI 1.0 <esi:include> has whitespace in src= attribute"));
            return;
        }
    }
    memcpy(p->src, p->value, p->value_len);
    p->src_len = p->value_len;
    p->has_src = true;
}

static void end_value(struct esi_parser *p)
{
    p->state = ESI_S_TAG;
    if (!p->is_value_kept) {
        return;
    }
    if (name_is(p, STR("src"))) {
        end_src(p);
    } else {
        p->goes_on = str_eq((struct str){p->value, p->value_len}, STR("continue"));
    }
}

static bool at_value(struct esi_parser *p, char c)
{
    if (c == '>') {
        lose(p, STR("XML 1.0 Missing end attribute delimiter"));
        return false;
    }
    if (c == p->delim || (p->delim == ' ' && c == '\t')) {
        end_value(p);
        return true;
    }
    if (!p->is_value_kept) {
        return true;
    }
    if (p->value_len == sizeof p->value) {
        lose(p, STR("ESI 1.0 <esi:include> attribute too long"));
        return false;
    }
    p->value[p->value_len++] = c;
    return true;
}

static bool at_lost(struct esi_parser *p, char c)
{
    if (c == '>') {
        p->state = ESI_S_TEXT;
    }
    return true;
}

bool esi__tag_byte(struct esi_parser *p, char c)
{
    switch (p->state) {
    case ESI_S_NAME:
        return at_name(p, c);
    case ESI_S_TAG:
        return at_tag(p, c);
    case ESI_S_ATTR:
        return at_attr(p, c);
    case ESI_S_DELIM:
        return at_delim(p, c);
    case ESI_S_VALUE:
        return at_value(p, c);
    case ESI_S_TAG_LOST:
        return at_lost(p, c);
    case ESI_S_BEGIN:
    case ESI_S_CHECK:
    case ESI_S_NOT_XML:
    case ESI_S_TEXT:
    case ESI_S_MARK:
    case ESI_S_OTHER:
    case ESI_S_COMMENT:
    case ESI_S_CDATA:
        break;
    }
    CHECK(false);
    return false;
}
