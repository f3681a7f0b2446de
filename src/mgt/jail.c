/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Who the worker is, and who compiles VCL.  The manager stays what it was started as: it binds
 * ports and replaces workers, and reads nothing from clients.  All that meets the network runs in
 * the worker, as a user that owns nothing but its shared memory directory; and what reads VCL runs
 * in a child (vcc.c), as a user that owns nothing.
 *
 * -j unix,user=U,workuser=W,ccgroup=G is taken as varnishd takes it: W is the worker's user, U
 * compiles (its group may read our files) and stands in for W, and G was the C compiler's
 * group, which is not needed. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "mgt/priv.h"

struct names {
    char user[64];
    char workuser[64];
    char ccgroup[64];
};

static bool is_key(struct str word, const char *key, char *value, size_t bytes)
{
    struct str rest = word;
    if (!str_eq(str_cut(&rest, '='), str_of(key)) || rest.len == 0 || rest.len >= bytes) {
        return false;
    }
    memcpy(value, rest.ptr, rest.len);
    value[rest.len] = '\0';
    return true;
}

static enum rc parse_options(struct names *names, struct str rest, struct cli_text *why)
{
    while (rest.ptr != NULL) {
        struct str word = str_cut(&rest, ',');
        if (!is_key(word, "user", names->user, sizeof names->user) &&
            !is_key(word, "workuser", names->workuser, sizeof names->workuser) &&
            !is_key(word, "ccgroup", names->ccgroup, sizeof names->ccgroup)) {
            cli_text_printf(why, "-j: unknown option %.*s", STR_ARG(word));
            return RC_INVALID;
        }
    }
    return RC_OK;
}

/* A user that was named must exist. */
static enum rc find_user(const char *name, struct passwd **user, struct cli_text *why)
{
    *user = getpwnam(name);
    if (*user == NULL) {
        cli_text_printf(why, "-j: unknown user %s", name);
        return RC_NOT_FOUND;
    }
    return RC_OK;
}

static void set_compiler(struct mgt_jail *jail, const struct passwd *user)
{
    (void)snprintf(jail->compiler, sizeof jail->compiler, "%s", user->pw_name);
    jail->compiler_uid = user->pw_uid;
    jail->compiler_gid = user->pw_gid;
}

/* Nobody was named to compile: varnish, as varnishd does it, else the worker's user. */
static void fill_compiler(struct mgt_jail *jail)
{
    const struct passwd *user = getpwnam("varnish");
    if (user == NULL || user->pw_uid == 0) {
        user = getpwuid(jail->uid);
    }
    if (user != NULL) {
        set_compiler(jail, user);
    } else {
        jail->compiler_uid = jail->uid;
        jail->compiler_gid = jail->gid;
    }
}

static enum rc fill_named(struct mgt_jail *jail, const struct names *names, struct cli_text *why)
{
    struct passwd *user;
    if (names->ccgroup[0] != '\0' && getgrnam(names->ccgroup) == NULL) {
        cli_text_printf(why, "-j: unknown group %s", names->ccgroup);
        return RC_NOT_FOUND;
    }
    if (names->user[0] != '\0') {
        enum rc rc = find_user(names->user, &user, why);
        if (rc != RC_OK) {
            return rc;
        }
        set_compiler(jail, user);
        jail->uid = user->pw_uid;
        jail->gid = user->pw_gid;
        jail->file_gid = user->pw_gid;
    }
    if (names->workuser[0] != '\0') {
        enum rc rc = find_user(names->workuser, &user, why);
        if (rc != RC_OK) {
            return rc;
        }
        jail->uid = user->pw_uid;
        jail->gid = user->pw_gid;
        if (names->user[0] == '\0') {
            jail->file_gid = user->pw_gid;
        }
    }
    return RC_OK;
}

/* What Debian's varnish package makes, else nobody. */
static enum rc fill_default(struct mgt_jail *jail, struct cli_text *why)
{
    static const char *const names[] = {"vcache", "varnish", "nobody"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct passwd *user = getpwnam(names[i]);
        if (user != NULL && user->pw_uid != 0) {
            if (strcmp(names[i], "nobody") == 0) {
                mgt__log(MGT_INFO, "There is no user varnish or vcache: the worker runs as nobody");
            }
            jail->uid = user->pw_uid;
            jail->gid = user->pw_gid;
            jail->file_gid = user->pw_gid;
            return RC_OK;
        }
    }
    cli_text_printf(why, "There is no user varnish, vcache or nobody to run the worker as: "
                         "use -j unix,user=... or -j none");
    return RC_NOT_FOUND;
}

enum rc mgt__jail_parse(struct mgt_jail *jail, const char *spec, struct cli_text *why)
{
    bool is_root = geteuid() == 0;
    *jail = (struct mgt_jail){.uid = VSM_SAME_UID, .gid = VSM_SAME_GID, .file_gid = VSM_SAME_GID};
    struct names names = {0};
    struct str rest = str_of(spec == NULL ? (is_root ? "unix" : "none") : spec);
    struct str kind = str_cut(&rest, ',');
    if (str_eq(kind, STR("none"))) {
        if (rest.ptr != NULL) {
            cli_text_printf(why, "-j none takes no options");
            return RC_INVALID;
        }
        return RC_OK;
    }
    if (!str_eq(kind, STR("unix"))) {
        cli_text_printf(why, "-j: unknown jail %.*s (unix and none are known)", STR_ARG(kind));
        return RC_INVALID;
    }
    enum rc rc = parse_options(&names, rest, why);
    if (rc != RC_OK) {
        return rc;
    }
    if (!is_root) {
        cli_text_printf(why, "-j unix: only root can change to another user");
        return RC_DENIED;
    }
    jail->is_on = true;
    if (names.user[0] == '\0' && names.workuser[0] == '\0') {
        rc = fill_default(jail, why);
    }
    if (rc == RC_OK) {
        rc = fill_named(jail, &names, why);
    }
    if (rc == RC_OK && jail->compiler[0] == '\0') {
        fill_compiler(jail);
    }
    return rc;
}

/* Whatever else the caller had as its rights is gone when this returns. */
static void become(uid_t uid, gid_t gid)
{
    CHECK(setresgid(gid, gid, gid) == 0);
    CHECK(setresuid(uid, uid, uid) == 0);
    CHECK(uid == 0 || setuid(0) != 0);
}

void mgt__jail_enter(const struct mgt_jail *jail)
{
    (void)umask(027);
    if (jail->is_on) {
        CHECK(setgroups(1, &jail->gid) == 0);
        become(jail->uid, jail->gid);
    }
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* A change of user forbids core files; a crash should leave one where the system allows it. */
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

void mgt__jail_enter_compiler(const struct mgt_jail *jail)
{
    (void)umask(027);
    if (jail->is_on) {
        /* VCL and modules may be there for one of its groups only. */
        if (jail->compiler[0] == '\0' || initgroups(jail->compiler, jail->compiler_gid) != 0) {
            CHECK(setgroups(1, &jail->compiler_gid) == 0);
        }
        become(jail->compiler_uid, jail->compiler_gid);
    }
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
