/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* backend NAME { ... } and backend NAME none; */
#include "vcl/cc.h"

#include <errno.h>
#include <sys/stat.h>

struct backend_parse {
    struct vcl_backend_decl decl;
    const struct token *name;
    const struct token *address; /* .host or .path, whichever came */
    const struct token *host;
    const struct token *port;
    const struct token *path;
};

static bool text(struct cc *cc, const char **out)
{
    if (!vcl__expect(cc, T_CSTR)) {
        return false;
    }
    *out = vcl__prog_text(cc->prog, cc->t->dec).ptr;
    vcl__next(cc);
    return true;
}

static bool said_at(struct cc *cc, const char *what)
{
    vcl__err(cc, "%s", what);
    vcl__err_token(cc, cc->t);
    vcl__err(cc, " at ");
    vcl__err_at(cc, cc->t);
    return false;
}

static bool path_field(struct cc *cc, struct backend_parse *p, const struct token *name)
{
    if (cc->syntax < 41) {
        return said_at(cc, "Unix socket backends only supported in VCL4.1 and higher.\n");
    }
    if (!vcl__only_one(cc, "Address", &p->address, name)) {
        return false;
    }
    p->path = cc->t;
    return text(cc, &p->decl.path);
}

static bool proxy_field(struct cc *cc, struct backend_parse *p)
{
    const struct token *t = cc->t;
    if (!vcl__uint(cc, &p->decl.proxy_header)) {
        return false;
    }
    if (p->decl.proxy_header != 1 && p->decl.proxy_header != 2) {
        vcl__err(cc, ".proxy_header must be 1 or 2\n");
        vcl__err_at(cc, t);
        return false;
    }
    return true;
}

static bool probe_field(struct cc *cc, struct backend_parse *p, bool *is_closed)
{
    if (cc->t->kind == '{') {
        /* No semicolon behind it. */
        *is_closed = true;
        unsigned index = vcl__prog_probe(cc->prog, NULL);
        struct vcl_probe *probe = &cc->prog->probes.at[index]->spec;
        p->decl.probe = probe;
        return vcl__probe_body(cc, probe);
    }
    if (cc->t->kind != T_ID) {
        vcl__err(cc, "Expected '{' or name of probe, got ");
        vcl__err_token(cc, cc->t);
        vcl__err(cc, " at\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    if (vcl__is(cc->t, "default")) {
        vcl__next(cc);
        if (!cc->has_default_probe) {
            vcl__err(cc, "No default probe defined\n");
            vcl__err_token(cc, cc->t);
            vcl__err(cc, " at\n");
            vcl__err_at(cc, cc->t);
            return false;
        }
        p->decl.probe = &cc->prog->default_probe->spec;
        return true;
    }
    struct symbol *sym = vcl__sym_get(cc, SYM_PROBE, LOOK_EXISTING, USE_REF);
    if (sym == NULL) {
        return false;
    }
    p->decl.probe = &cc->prog->probes.at[sym->index]->spec;
    return true;
}

static bool preamble_field(struct cc *cc, struct backend_parse *p)
{
    if (!vcl__expect(cc, T_CBLOB)) {
        return false;
    }
    p->decl.preamble = vcl__prog_text(cc->prog, cc->t->dec);
    vcl__next(cc);
    return true;
}

static bool field_value(struct cc *cc, struct backend_parse *p, const struct token *name,
                        bool *is_closed)
{
    struct vcl_backend_decl *d = &p->decl;
    if (vcl__is(name, "host")) {
        if (!vcl__only_one(cc, "Address", &p->address, name)) {
            return false;
        }
        p->host = cc->t;
        return text(cc, &d->host);
    }
    if (vcl__is(name, "port")) {
        p->port = cc->t;
        return text(cc, &d->port);
    }
    if (vcl__is(name, "path")) {
        return path_field(cc, p, name);
    }
    if (vcl__is(name, "host_header")) {
        return text(cc, &d->host_header);
    }
    if (vcl__is(name, "connect_timeout")) {
        return vcl__duration(cc, &d->connect_timeout);
    }
    if (vcl__is(name, "first_byte_timeout")) {
        return vcl__duration(cc, &d->first_byte_timeout);
    }
    if (vcl__is(name, "between_bytes_timeout")) {
        return vcl__duration(cc, &d->between_bytes_timeout);
    }
    if (vcl__is(name, "max_connections")) {
        return vcl__uint(cc, &d->max_connections);
    }
    if (vcl__is(name, "proxy_header")) {
        return proxy_field(cc, p);
    }
    if (vcl__is(name, "probe")) {
        return probe_field(cc, p, is_closed);
    }
    return preamble_field(cc, p);
}

/* A socket that is not there yet is only worth a warning. */
static bool check_path(struct cc *cc, const struct backend_parse *p)
{
    struct stat st;
    if (p->decl.path[0] != '/') {
        vcl__err(cc, "Backend path: Must be an absolute path:\n");
        vcl__err_at(cc, p->path);
        return false;
    }
    if (stat(p->decl.path, &st) != 0) {
        bool is_minor = errno == ENOENT || errno == EACCES;
        vcl__err(cc, "Backend path: Cannot stat: %s\n", strerror(errno));
        vcl__err_at(cc, p->path);
        if (is_minor) {
            vcl__warn(cc);
        }
        return is_minor;
    }
    if (!S_ISSOCK(st.st_mode)) {
        vcl__err(cc, "Backend path: Not a socket:\n");
        vcl__err_at(cc, p->path);
        return false;
    }
    return true;
}

static bool check_address(struct cc *cc, struct backend_parse *p)
{
    if (p->host == NULL && p->path == NULL) {
        vcl__err(cc, "Expected .host or .path.\n");
        vcl__err_at(cc, p->name);
        return false;
    }
    if (p->path != NULL) {
        if (p->decl.host_header == NULL) {
            p->decl.host_header = "0.0.0.0";
        }
        return check_path(cc, p);
    }
    if (p->decl.host_header == NULL) {
        p->decl.host_header = p->decl.host;
    }
    return vcl__resolve_backend(cc, p->host, p->port, &p->decl);
}

static bool backend_body(struct cc *cc, struct backend_parse *p)
{
    struct field_seen fields[] = {{"host", NULL},
                                  {"port", NULL},
                                  {"path", NULL},
                                  {"host_header", NULL},
                                  {"connect_timeout", NULL},
                                  {"first_byte_timeout", NULL},
                                  {"between_bytes_timeout", NULL},
                                  {"probe", NULL},
                                  {"max_connections", NULL},
                                  {"proxy_header", NULL},
                                  {"preamble", NULL}};
    if (!vcl__skip(cc, '{')) {
        return false;
    }
    if (vcl__is(cc->t, "set")) {
        return said_at(cc, "NB: Backend Syntax has changed:\n"
                           "Remove \"set\" and \"backend\" in front of backend fields.\n");
    }
    while (cc->t->kind != '}') {
        bool is_closed = false;
        const struct field_seen *f = vcl__field(cc, fields, ARRAY_SIZE(fields));
        if (f == NULL || !field_value(cc, p, f->t, &is_closed) ||
            (!is_closed && !vcl__skip(cc, ';'))) {
            return false;
        }
    }
    if (!check_address(cc, p)) {
        return false;
    }
    vcl__next(cc);
    return true;
}

/* The backend's number; one named default takes the place of the first one. */
static bool name_backend(struct cc *cc, const struct token *first, unsigned *index)
{
    if (!vcl__is(cc->t, "default")) {
        struct symbol *sym = vcl__sym_define(cc, VT_BACKEND);
        if (sym == NULL) {
            return false;
        }
        *index = sym->index;
        if (cc->first_backend == NULL && !cc->has_default) {
            cc->first_backend = sym;
            cc->prog->default_backend = sym->index;
            sym->noref = true;
        }
        return true;
    }
    if (cc->has_default) {
        vcl__err(cc, "Only one default director possible.\n");
        vcl__err_at(cc, first);
        return false;
    }
    if (cc->first_backend != NULL) {
        cc->first_backend->noref = false;
        cc->first_backend = NULL;
    }
    vcl__next(cc);
    cc->has_default = true;
    *index = vcl__prog_backend(cc->prog, "default");
    cc->prog->default_backend = *index;
    return true;
}

bool vcl__parse_backend(struct cc *cc)
{
    const struct token *first = cc->t;
    vcl__next(cc);
    if (!vcl__expect_name(cc, "backend")) {
        return false;
    }
    struct backend_parse p = {
        .name = cc->t,
        .decl = {.connect_timeout = -1, .first_byte_timeout = -1, .between_bytes_timeout = -1}};
    unsigned index;
    if (!name_backend(cc, first, &index)) {
        return false;
    }
    p.decl.name = cc->prog->backends.at[index].name;
    bool is_fine;
    if (vcl__is(cc->t, "none") || vcl__is(cc->t, "None")) {
        p.decl.is_none = true;
        vcl__next(cc);
        is_fine = vcl__skip(cc, ';');
    } else {
        is_fine = backend_body(cc, &p);
    }
    if (!is_fine) {
        vcl__err(cc, "\nIn %.*s specification starting at:\n", STR_ARG(token_text(first)));
        vcl__err_at(cc, first);
        return false;
    }
    cc->prog->backends.at[index] = p.decl;
    return true;
}
