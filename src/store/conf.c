/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The argument of -s.  Command lines written for varnishd work where they ask for memory; what has
 * no engine here yet is refused by name. */
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "store/store.h"

#define BYTES_MIN (UINT64_C(1) << 20)
#define BYTES_MAX (UINT64_C(1) << 46)

static enum rc fail(char *errbuf, size_t errbuf_bytes, enum rc rc, const char *what, struct str arg)
{
    (void)snprintf(errbuf, errbuf_bytes, "%s: \"%.*s\"", what, STR_ARG(arg));
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

enum rc stv_conf_parse(struct stv_conf *conf, const char *spec, char *errbuf, size_t errbuf_bytes)
{
    CHECK(errbuf_bytes > 0);
    errbuf[0] = '\0';
    struct str rest = str_of(spec);
    struct str name = STR_NONE;
    if (str_find(rest, '=') < str_find(rest, ',')) {
        name = str_cut(&rest, '=');
        if (!name_is_fine(name)) {
            return fail(errbuf, errbuf_bytes, RC_INVALID, "not a name for a storage", name);
        }
    }
    struct str kind = str_cut(&rest, ',');
    if (!str_eq(kind, STR("memory")) && !str_eq(kind, STR("malloc")) &&
        !str_eq(kind, STR("default"))) {
        if (str_eq(kind, STR("file")) || str_eq(kind, STR("umem")) ||
            str_eq(kind, STR("persistent")) || str_eq(kind, STR("deprecated_persistent"))) {
            return fail(errbuf, errbuf_bytes, RC_UNSUPPORTED, "no such storage here yet", kind);
        }
        return fail(errbuf, errbuf_bytes, RC_INVALID, "unknown kind of storage", kind);
    }
    *conf = (struct stv_conf){.kind = STV_MEMORY};
    memcpy(conf->name, name.ptr != NULL ? name.ptr : "", name.len);
    if (str_eq(name, STR("Transient"))) {
        conf->kind = STV_TRANSIENT;
    }
    struct str size = str_cut(&rest, ',');
    if (rest.ptr != NULL) {
        return fail(errbuf, errbuf_bytes, RC_INVALID, "too many arguments for a storage",
                    str_of(spec));
    }
    conf->bytes = bytes_unsaid();
    if (size.len > 0 && parse_bytes(size, &conf->bytes) != RC_OK) {
        return fail(errbuf, errbuf_bytes, RC_INVALID, "not a size", size);
    }
    if (conf->bytes < BYTES_MIN) {
        return fail(errbuf, errbuf_bytes, RC_INVALID,
                    "too small for a storage (1M at least; was a unit forgotten?)", size);
    }
    return RC_OK;
}
