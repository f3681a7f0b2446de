/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The records of transactions, in the words that varnishlog's readers know (vsl(7)). */
#include "engine/engine_priv.h"

void log__timestamp(struct vslb *log, struct str label, uint64_t now_ns, uint64_t first_ns,
                    uint64_t *prev_ns)
{
    /* A loop's own clock stands still while it is at work; the one before may have asked another.
     */
    if (now_ns < *prev_ns) {
        now_ns = *prev_ns;
    }
    vslb_timestamp(log, label, now_ns, first_ns, *prev_ns);
    *prev_ns = now_ns;
}

/* The tags of one kind of head, in the order of the log's table. */
static const struct {
    enum VSL_tag_e method, url, protocol, status, reason, field;
} tags[] = {
    [LOG_REQ] = {SLT_ReqMethod, SLT_ReqURL, SLT_ReqProtocol, SLT__Bogus, SLT__Bogus, SLT_ReqHeader},
    [LOG_BEREQ] = {SLT_BereqMethod, SLT_BereqURL, SLT_BereqProtocol, SLT__Bogus, SLT__Bogus,
                   SLT_BereqHeader},
    [LOG_BERESP] = {SLT__Bogus, SLT__Bogus, SLT_BerespProtocol, SLT_BerespStatus, SLT_BerespReason,
                    SLT_BerespHeader},
    [LOG_RESP] = {SLT__Bogus, SLT__Bogus, SLT_RespProtocol, SLT_RespStatus, SLT_RespReason,
                  SLT_RespHeader},
};

void log__field(struct vslb *log, enum log_head kind, const struct http_hdr *hdr)
{
    vslb_header(log, tags[kind].field, hdr->name, hdr->value);
}

static void log_status(struct vslb *log, enum VSL_tag_e tag, unsigned status)
{
    char digits[8];
    struct sb sb = sb_of(digits, sizeof digits);
    sb_u64(&sb, status);
    vslb_str(log, tag, sb_str(&sb));
}

void log__head(struct vslb *log, enum log_head kind, const struct http *h)
{
    if (kind == LOG_REQ || kind == LOG_BEREQ) {
        vslb_str(log, tags[kind].method, h->method);
        vslb_str(log, tags[kind].url, h->url);
        vslb_str(log, tags[kind].protocol, h->proto);
    } else {
        vslb_str(log, tags[kind].protocol, h->proto);
        log_status(log, tags[kind].status, h->status);
        vslb_str(log, tags[kind].reason, h->reason);
    }
    for (unsigned i = 0; i < h->count; i++) {
        log__field(log, kind, &h->hdr[i]);
    }
}

void log__status(struct vslb *log, struct http *resp, unsigned status)
{
    http_set_status(resp, status);
    vslb_str(log, SLT_RespProtocol, resp->proto);
    log_status(log, SLT_RespStatus, status);
    vslb_str(log, SLT_RespReason, resp->reason);
}

void log__vcl(struct vslb *log, struct str sub, struct str action)
{
    vslb_str(log, SLT_VCL_call, sub);
    vslb_str(log, SLT_VCL_return, action);
}
