/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Lines of memory asked for ahead.
 *
 * A hit on one of many objects walks six lines that are in no cache of this core, each of which
 * tells where the next one lies: bucket, head, core, the object's place, its attributes, its body.
 * One after the other they cost as much as half of all else that a hit does in user space.  So each
 * loop remembers, by a cheap hash of host and URL, where the last hit on that name read; a request
 * asks for all of these lines at once when its head has been read, and by the time of the lookup
 * they are there.
 *
 * What is remembered decides about speed and nothing else: it is never read through.  A name that
 * shares the hash of another, or an object that is gone, costs a few lines for nothing. */
#include "engine/engine_priv.h"

static size_t place_of(const struct wrk *wrk, uint64_t name)
{
    return name % ARRAY_SIZE(wrk->warm);
}

uint64_t warm__up(const struct wrk *wrk, const struct http *http)
{
    uint64_t name = key__hash(http_get(http, HDR_HOST), http->url);
    key__fetch(wrk, name);
    const struct warm *warm = &wrk->warm[place_of(wrk, name)];
    if (warm->name == name) {
        obj_lines_fetch(&warm->lines);
    }
    return name;
}

void warm__note(struct wrk *wrk, uint64_t name, const struct objcore *oc)
{
    struct warm *warm = &wrk->warm[place_of(wrk, name)];
    if (warm->name == name && warm->lines.core == oc) {
        return;
    }
    warm->name = name;
    obj_lines(oc, &warm->lines);
}
