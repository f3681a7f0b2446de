/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Names of log tags and the default mask.  Numbers and names come from the header of Varnish's
 * reader library, so they are the reader's own. */
#include "shm/vsl.h"

#include <assert.h>

static const char *const names[] = {
    NULL, /* SLT__Bogus */
#define SLTM(name, flags, sdesc, ldesc) #name,
#include <tbl/vsl_tags.h>
};
static_assert(ARRAY_SIZE(names) <= (size_t)64 * PARAM_BITS_WORDS,
              "the mask has a bit for each tag");

/* Noise for most, kept for those who look for something; the same that Varnish leaves out. */
static const enum VSL_tag_e masked[] = {
    SLT_Debug,     SLT_ExpKill,   SLT_H2RxBody,  SLT_H2RxHdr,     SLT_H2TxBody,
    SLT_H2TxHdr,   SLT_Hash,      SLT_ObjHeader, SLT_ObjProtocol, SLT_ObjReason,
    SLT_ObjStatus, SLT_VCL_trace, SLT_VdpAcct,   SLT_VfpAcct,     SLT_WorkThread,
};

const char *vsl_tag_name(unsigned tag)
{
    return tag < ARRAY_SIZE(names) ? names[tag] : NULL;
}

enum VSL_tag_e vsl_tag_by_name(struct str name)
{
    for (unsigned tag = 1; tag < ARRAY_SIZE(names); tag++) {
        if (str_eq_nocase(str_of(names[tag]), name)) {
            return (enum VSL_tag_e)tag;
        }
    }
    return SLT__Bogus;
}

void vsl_mask_default(struct params *params)
{
    uint64_t words[PARAM_BITS_WORDS] = {0};
    for (unsigned tag = 1; tag < ARRAY_SIZE(names); tag++) {
        words[tag / 64] |= UINT64_C(1) << (tag % 64);
    }
    for (size_t i = 0; i < ARRAY_SIZE(masked); i++) {
        unsigned tag = (unsigned)masked[i];
        words[tag / 64] &= ~(UINT64_C(1) << (tag % 64));
    }
    for (unsigned i = 0; i < PARAM_BITS_WORDS; i++) {
        atomic_store_explicit(&params->bits[PARAM_BITS_vsl_mask][i], words[i],
                              memory_order_relaxed);
    }
}
