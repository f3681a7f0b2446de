/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The argument of -s.  Command lines written for varnishd work where they ask for memory; what has
 * no engine here yet is refused by name. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "store/store.h"

#define BYTES_MIN (UINT64_C(1) << 20)
#define BYTES_MAX (UINT64_C(1) << 46)

struct complaint {
    char *text;
    size_t bytes;
};

static PRINTF_LIKE(3, 4) enum rc fail(struct complaint why, enum rc rc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why.text, why.bytes, fmt, ap);
    va_end(ap);
    return rc;
}

/* "1.5g", "100M", "4096", "2GB".  Three digits after the point count. */
static enum rc parse_bytes(struct str text, uint64_t *bytes)
{
    static const char units[] = "kmgtp";
    uint64_t unit = 1;
    if (text.len > 1 && (text.ptr[text.len - 1] | 0x20) == 'b') {
        text.len--;
    }
    if (text.len > 0) {
        const char *at = strchr(units, text.ptr[text.len - 1] | 0x20);
        if (at != NULL && *at != '\0') {
            unit = UINT64_C(1) << (10 * (at - units + 1));
            text.len--;
        }
    }
    struct str whole = str_cut(&text, '.');
    uint64_t value = 0;
    if (str_to_u64(whole, &value) != RC_OK || value > BYTES_MAX / unit) {
        return RC_INVALID;
    }
    *bytes = value * unit;
    if (text.ptr != NULL) {
        uint64_t thousandths = 0;
        uint64_t weight = 100;
        if (text.len == 0) {
            return RC_INVALID;
        }
        for (size_t i = 0; i < text.len; i++, weight /= 10) {
            if (text.ptr[i] < '0' || text.ptr[i] > '9') {
                return RC_INVALID;
            }
            thousandths += (uint64_t)(text.ptr[i] - '0') * weight;
        }
        *bytes += thousandths * unit / 1000;
    }
    return *bytes <= BYTES_MAX ? RC_OK : RC_INVALID;
}

/* Without a size: most of the memory, as the operator did not say. */
static uint64_t bytes_unsaid(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    uint64_t all = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : BYTES_MIN;
    return all / 4 * 3 > BYTES_MIN ? all / 4 * 3 : BYTES_MIN;
}

static bool name_is_fine(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '_' || c == '-'))) {
            return false;
        }
    }
    return name.len > 0 && name.len < sizeof(((struct stv_conf *)NULL)->name);
}

static bool is_memory(struct str kind)
{
    return str_eq(kind, STR("memory")) || str_eq(kind, STR("malloc")) ||
           str_eq(kind, STR("default"));
}

static bool is_to_come(struct str kind)
{
    return str_eq(kind, STR("file")) || str_eq(kind, STR("umem")) ||
           str_eq(kind, STR("persistent")) || str_eq(kind, STR("deprecated_persistent"));
}

/* NAME= in front, or nothing. */
static enum rc take_name(struct str *rest, struct str *name, const char *spec, struct complaint why)
{
    *name = STR_NONE;
    if (str_find(*rest, '=') >= str_find(*rest, ',')) {
        return RC_OK;
    }
    *name = str_cut(rest, '=');
    if (!name_is_fine(*name)) {
        return fail(why, RC_INVALID, "invalid -s name \"%.*s\"=[...]", STR_ARG(*name));
    }
    if (rest->len == 0) {
        return fail(why, RC_INVALID, "Empty named -s argument \"%s\"", spec);
    }
    return RC_OK;
}

static enum rc take_size(struct str text, struct str kind, uint64_t *bytes, struct complaint why)
{
    *bytes = bytes_unsaid();
    if (text.len > 0 && parse_bytes(text, bytes) != RC_OK) {
        return fail(why, RC_INVALID, "(-s%.*s) size \"%.*s\": not a size", STR_ARG(kind),
                    STR_ARG(text));
    }
    if (*bytes < BYTES_MIN) {
        return fail(why, RC_INVALID,
                    "(-s%.*s) size \"%.*s\": too small, did you forget to specify M or G?",
                    STR_ARG(kind), STR_ARG(text));
    }
    return RC_OK;
}

enum rc stv_conf_parse(struct stv_conf *conf, const char *spec, char *errbuf, size_t errbuf_bytes)
{
    CHECK(errbuf_bytes > 0);
    errbuf[0] = '\0';
    struct complaint why = {errbuf, errbuf_bytes};
    struct str rest = str_of(spec);
    struct str name;
    enum rc rc = take_name(&rest, &name, spec, why);
    if (rc != RC_OK) {
        return rc;
    }
    struct str kind = str_cut(&rest, ',');
    if (is_to_come(kind)) {
        return fail(why, RC_UNSUPPORTED, "(-s%.*s) no such storage here yet", STR_ARG(kind));
    }
    if (!is_memory(kind)) {
        return fail(why, RC_INVALID, "Unknown storage method \"%.*s\"", STR_ARG(kind));
    }
    *conf = (struct stv_conf){.kind = STV_MEMORY};
    memcpy(conf->name, name.ptr != NULL ? name.ptr : "", name.len);
    if (str_eq(name, STR("Transient"))) {
        conf->kind = STV_TRANSIENT;
    }
    struct str size = str_cut(&rest, ',');
    if (rest.ptr != NULL) {
        return fail(why, RC_INVALID, "(-s%.*s) too many arguments", STR_ARG(kind));
    }
    return take_size(size, kind, &conf->bytes, why);
}
