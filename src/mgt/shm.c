/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What Varnish's tools see of the manager: where the command line interface is, and the MGT
 * counters.  All of it is there before anyone can be told that authentication went well, since
 * varnishtest attaches right after that. */
#include <unistd.h>

#include "base/check.h"
#include "mgt/priv.h"

static struct vsm_place place_of(const struct mgt *mgt, const char *name)
{
    return (struct vsm_place){
        .workdir_fd = mgt->dir.fd, .name = name, .uid = VSM_SAME_UID, .gid = mgt->jail.file_gid};
}

enum rc mgt__shm_open(struct mgt *mgt)
{
    struct vsm_place place = place_of(mgt, VSM_MGT_DIR);
    struct vsm_place child = place_of(mgt, VSM_CHILD_DIR);
    /* Left by a daemon that was killed: readers must not take it for ours. */
    enum rc rc = vsm_dir_remove(&child);
    if (rc == RC_OK) {
        rc = vsm_dir_make(&place);
    }
    return rc;
}

enum rc mgt__shm_publish(struct mgt *mgt, struct str cli_listens)
{
    struct vsm_place place = place_of(mgt, VSM_MGT_DIR);
    enum rc rc = vsm_set_open(&place, &mgt->vsm);
    if (rc == RC_OK) {
        rc = vsm_text(mgt->vsm, "Arg", "-i", str_of(mgt->identity));
    }
    if (rc == RC_OK) {
        rc = vsc_new(mgt->vsm, &vsc_class_mgt, "MGT", &mgt->vsm_counters);
    }
    if (rc == RC_OK) {
        mgt->counters = vsc_of(mgt->vsm_counters);
    }
    if (rc == RC_OK && mgt->dir.secret_path != NULL) {
        rc = vsm_text(mgt->vsm, "Arg", "-S", str_of(mgt->dir.secret_path));
    }
    if (rc == RC_OK && cli_listens.len > 0) {
        rc = vsm_text(mgt->vsm, "Arg", "-T", cli_listens);
    }
    return rc;
}

static bool keeps_child(const struct mgt *mgt)
{
    return param_bit(mgt->params.shared, PARAM_BITS_debug, PARAM_DEBUG_vtc_mode) ||
           param_bit(mgt->params.shared, PARAM_BITS_debug, PARAM_DEBUG_vsm_keep);
}

void mgt__shm_end(struct mgt *mgt)
{
    if (mgt->dir.fd < 0 || mgt->vsm == NULL) {
        return;
    }
    vsm_seg_free(&mgt->vsm_counters);
    mgt->counters = NULL;
    vsm_set_free(&mgt->vsm, keeps_child(mgt) ? VSM_DROP_INDEX : VSM_REMOVE);
    mgt__shm_child_end(mgt);
}

enum rc mgt__shm_child_begin(struct mgt *mgt)
{
    struct vsm_place place = place_of(mgt, VSM_CHILD_DIR);
    if (mgt->jail.is_on) {
        place.uid = mgt->jail.uid;
    }
    return vsm_dir_make(&place);
}

void mgt__shm_child_end(struct mgt *mgt)
{
    struct vsm_place place = place_of(mgt, VSM_CHILD_DIR);
    if (!keeps_child(mgt) && vsm_dir_remove(&place) != RC_OK) {
        mgt__log(MGT_INFO, "Cannot remove %s/%s", mgt->dir.path, VSM_CHILD_DIR);
    }
}
