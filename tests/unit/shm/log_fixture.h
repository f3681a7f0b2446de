/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A ring, and Varnish's cursor on it. */
#ifndef TESTS_UNIT_SHM_LOG_FIXTURE_H
#define TESTS_UNIT_SHM_LOG_FIXTURE_H

#include "shm_fixture.h"

#include <vapi/vsl.h>

#include "shm/vsl.h"

struct log {
    struct vsm_set *mgt;
    struct vsm_set *child;
    struct vsm_seg *main_seg;
    struct vsc_main *main;
    struct params params;
    struct vsl *ring;
};

struct log_reader {
    struct vsm *vsm;
    struct VSL_data *vsl;
    struct VSL_cursor *cursor;
};

static inline void log_open(struct log *log, const struct workdir *dir, size_t bytes)
{
    log->mgt = open_set(dir, VSM_MGT_DIR);
    log->child = open_set(dir, VSM_CHILD_DIR);
    assert_int_equal(vsc_new(log->child, &vsc_class_main, "MAIN", &log->main_seg), RC_OK);
    log->main = vsc_of(log->main_seg);
    param_defaults(&log->params);
    vsl_mask_default(&log->params);
    assert_int_equal(vsl_new(log->child, bytes, &log->params, log->main, &log->ring), RC_OK);
}

static inline void log_close(struct log *log)
{
    vsl_free(&log->ring);
    vsm_set_free(&log->child, VSM_REMOVE);
    vsm_set_free(&log->mgt, VSM_REMOVE);
}

static inline void log_reader_open(struct log_reader *r, const struct workdir *dir,
                                   unsigned options)
{
    r->vsm = open_reader(dir);
    (void)VSM_Status(r->vsm);
    r->vsl = VSL_New();
    assert_non_null(r->vsl);
    r->cursor = VSL_CursorVSM(r->vsl, r->vsm, options);
    if (r->cursor == NULL) {
        print_error("%s\n", VSL_Error(r->vsl));
    }
    assert_non_null(r->cursor);
}

static inline void log_reader_close(struct log_reader *r)
{
    VSL_DeleteCursor(r->cursor);
    VSL_Delete(r->vsl);
    VSM_Destroy(&r->vsm);
}

/* The next record must be this one. */
static inline void expect_record(struct log_reader *r, enum VSL_tag_e tag, uint32_t id,
                                 const char *text)
{
    assert_int_equal(VSL_Next(r->cursor), vsl_more);
    const uint32_t *rec = r->cursor->rec.ptr;
    assert_int_equal(VSL_TAG(rec), tag);
    assert_int_equal(rec[1], id);
    assert_int_equal(VSL_LEN(rec), strlen(text) + 1);
    assert_memory_equal(VSL_CDATA(rec), text, strlen(text) + 1);
    for (size_t i = strlen(text); i < VSL_BYTES(VSL_WORDS(VSL_LEN(rec))); i++) {
        assert_int_equal(VSL_CDATA(rec)[i], 0);
    }
}

static inline void expect_end(struct log_reader *r)
{
    assert_int_equal(VSL_Next(r->cursor), vsl_end);
}

#endif
