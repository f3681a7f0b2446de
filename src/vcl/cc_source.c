/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Files and includes.
 *
 * `include` works on tokens: where it stands, the tokens of the other file are put, and looked at
 * for includes in turn.  A file that includes itself, directly or not, is found by going up the
 * sources that led to it.
 */
#include "vcl/cc.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "base/mem.h"

#define FILE_BYTES_MAX (16u << 20)
#define SOURCES_MAX 4096u

static struct source *source_new(struct cc *cc, const char *kind, const char *name, struct str text)
{
    struct source *src = vcl__alloc(&cc->mem, sizeof *src);
    src->kind = kind;
    src->name = vcl__dup(&cc->mem, str_of(name)).ptr;
    src->text = text;
    src->index = cc->source_count++;
    *cc->sources_end = src;
    cc->sources_end = &src->next;
    vcl__prog_source(cc->prog, kind, src->name, text);
    return src;
}

/* ... as the caller gave it, where files have nothing to say. */
static bool given_file(struct cc *cc, const char *path, struct str *text)
{
    for (const struct vcl_file *f = cc->conf->files; f->name.ptr != NULL; f++) {
        /* The manager may have found it in a folder of its path. */
        bool is_same = str_eq(f->name, str_of(path));
        bool is_found = path[0] != '/' && f->name.len > strlen(path) &&
                        str_ends(f->name, str_of(path)) &&
                        f->name.ptr[f->name.len - strlen(path) - 1] == '/';
        if (is_same || is_found) {
            *text = vcl__dup(&cc->mem, f->text);
            return true;
        }
    }
    errno = ENOENT;
    return false;
}

/* The file's bytes.  False: errno says why. */
static bool read_file(struct cc *cc, const char *path, struct str *text)
{
    if (cc->conf->files != NULL) {
        return given_file(cc, path, text);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    struct stat st;
    bool is_read = false;
    if (fstat(fd, &st) == 0 && st.st_size >= 0 && st.st_size <= FILE_BYTES_MAX) {
        char *bytes = vcl__alloc(&cc->mem, (size_t)st.st_size + 1);
        size_t len = 0;
        ssize_t got = 1;
        while (got > 0 && len < (size_t)st.st_size) {
            got = fd_read(fd, bytes + len, (size_t)st.st_size - len);
            len += got > 0 ? (size_t)got : 0;
        }
        is_read = got >= 0;
        /* A NUL would end the text for the lexer, and for those who read it. */
        *text = (struct str){bytes, strnlen(bytes, len)};
    } else {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EFBIG;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return is_read;
}

/* Looks for the file along vcl_path, unless it is absolute. */
static struct source *file_source(struct cc *cc, const char *name)
{
    if (!cc->conf->unsafe_path && strchr(name, '/') != NULL) {
        vcl__err(cc, "VCL filename '%s' is unsafe.\n", name);
        return NULL;
    }
    struct str dirs =
        name[0] == '/' || cc->conf->vcl_path == NULL ? STR("") : str_of(cc->conf->vcl_path);
    do {
        struct str dir = str_cut(&dirs, ':');
        char *path = dir.len == 0 ? xstrdup(name) : xasprintf("%.*s/%s", STR_ARG(dir), name);
        struct str text;
        struct source *src = NULL;
        if (read_file(cc, path, &text)) {
            src = source_new(cc, "file", path, text);
        }
        free(path);
        if (src != NULL) {
            return src;
        }
    } while (dirs.ptr != NULL);
    vcl__err(cc, "Cannot read file '%s' (%s)\n", name, strerror(errno));
    return NULL;
}

static bool is_recursive(struct cc *cc, const struct source *src)
{
    for (const struct source *up = src->parent; up != NULL; up = up->parent) {
        if (strcmp(up->name, src->name) == 0 && strcmp(up->kind, src->kind) == 0) {
            vcl__err(cc, "Recursive use of %s \"%s\"\n\n", src->kind, src->name);
            return true;
        }
    }
    return false;
}

/* Puts what the file has before *at (its own end excepted); *at is what follows then. */
static bool splice_file(struct cc *cc, const char *name, const struct source *parent,
                        struct token *before, struct token *after)
{
    if (cc->source_count >= SOURCES_MAX) {
        vcl__err(cc, "Too many included files\n");
        return false;
    }
    struct source *src = file_source(cc, name);
    if (src == NULL) {
        return false;
    }
    src->parent = parent;
    struct token_list list = {0};
    if (is_recursive(cc, src) || !vcl__lex(cc, src, &list)) {
        return false;
    }
    struct token *end = list.last->prev;
    if (end != NULL) {
        before->next = list.first;
        list.first->prev = before;
        end->next = after;
        after->prev = end;
    }
    return true;
}

static bool splice_given(struct cc *cc, const char *pattern, const struct source *parent,
                         struct token *after)
{
    bool is_fine = true;
    for (const struct vcl_file *f = cc->conf->files; is_fine && f->name.ptr != NULL; f++) {
        if (fnmatch(pattern, f->name.ptr, FNM_PATHNAME | FNM_PERIOD) == 0) {
            is_fine = splice_file(cc, f->name.ptr, parent, after->prev, after);
        }
    }
    return is_fine;
}

static bool splice_glob(struct cc *cc, const char *pattern, const struct source *parent,
                        struct token *after)
{
    if (cc->conf->files != NULL) {
        return splice_given(cc, pattern, parent, after);
    }
    glob_t found = {0};
    int err = glob(pattern, 0, NULL, &found);
    bool is_fine = err == 0;
    if (err == GLOB_NOMATCH) {
        vcl__err(cc, "glob pattern matched no files.\n");
    } else if (err != 0) {
        vcl__err(cc, "glob(3) expansion failed (%d)\n", err);
    }
    for (size_t i = 0; is_fine && i < found.gl_pathc; i++) {
        is_fine = splice_file(cc, found.gl_pathv[i], parent, after->prev, after);
    }
    globfree(&found);
    return is_fine;
}

/* `./name` is beside the file that includes it. */
static const char *relative_to(struct cc *cc, const struct token *t)
{
    const char *name = t->dec.ptr;
    if (!str_starts(t->dec, STR("./"))) {
        return name;
    }
    const char *slash = strrchr(t->src->name, '/');
    if (t->src->name[0] != '/' || slash == NULL) {
        vcl__err(cc, "include \"./xxxxx\"; needs absolute filename of including file.\n");
        vcl__err_at(cc, t);
        return NULL;
    }
    char *path = xasprintf("%.*s%s", (int)(slash - t->src->name), t->src->name, name + 1);
    const char *kept = vcl__dup(&cc->mem, str_of(path)).ptr;
    free(path);
    return kept;
}

/* Flags behind `include`; *at becomes what follows them. */
static bool include_flags(struct cc *cc, struct token **at, bool *is_glob)
{
    while ((*at)->kind == '+' || (*at)->kind == '-') {
        struct token *sign = *at;
        struct token *flag = sign->next;
        if (flag == NULL || flag->b != sign->e) {
            vcl__err(cc, "Expected a flag at:\n");
            vcl__err_at(cc, sign);
            return false;
        }
        if (!vcl__is(flag, "glob")) {
            vcl__err(cc, "Unknown include flag:\n");
            vcl__err_at(cc, flag);
            return false;
        }
        *is_glob = sign->kind == '+';
        *at = flag->next;
    }
    return true;
}

/* Replaces an include by what it names.  Returns the token to go on with, NULL after an error. */
static struct token *include(struct cc *cc, struct token *word)
{
    bool is_glob = false;
    struct token *file = word->next;
    if (!include_flags(cc, &file, &is_glob)) {
        return NULL;
    }
    if (file->kind != T_CSTR) {
        vcl__err(cc, "include not followed by string constant.\n");
        vcl__err_at(cc, file);
        return NULL;
    }
    if (file->next == NULL || file->next->kind != ';') {
        vcl__err(cc, "include <string> not followed by semicolon.\n");
        vcl__err_at(cc, file);
        return NULL;
    }
    const char *name = relative_to(cc, file);
    if (name == NULL) {
        return NULL;
    }
    /* The include goes; a list never begins with one (`vcl 4.1;` does), but a file may. */
    struct token *before = word->prev;
    struct token *after = file->next->next;
    CHECK(before != NULL);
    before->next = after;
    after->prev = before;
    bool is_fine = is_glob ? splice_glob(cc, name, word->src, after)
                           : splice_file(cc, name, word->src, before, after);
    if (!is_fine) {
        vcl__err_at(cc, file);
        return NULL;
    }
    return before->next;
}

static bool expand_includes(struct cc *cc, struct token *first)
{
    for (struct token *t = first; t != NULL;) {
        if (vcl__is(t, "include") && t->next != NULL && t->prev != NULL) {
            t = include(cc, t);
            if (t == NULL) {
                return false;
            }
        } else {
            t = t->next;
        }
    }
    return true;
}

/* The names of the subs in the built-in VCL, the methods first. */
static void note_builtin_subs(struct cc *cc, const struct token *first)
{
    size_t count = 0;
    for (const struct token *t = first; t != NULL; t = t->next) {
        count += vcl__is(t, "sub");
    }
    cc->builtin_subs = vcl__alloc(&cc->mem, (count + 1) * sizeof *cc->builtin_subs);
    size_t at = 0;
    for (const struct token *t = first; t != NULL; t = t->next) {
        if (vcl__is(t, "sub") && t->next != NULL) {
            cc->builtin_subs[at++] = token_text(t->next);
        }
    }
}

bool vcl__read(struct cc *cc, const char *name, const struct str *text)
{
    struct source *src = text != NULL
                             ? source_new(cc, "<vcl.inline>", name, vcl__dup(&cc->mem, *text))
                             : file_source(cc, name);
    /* A token before the first, so that whatever comes has something before it. */
    struct token *head = vcl__alloc(&cc->mem, sizeof *head);
    struct token_list own = {head, head};
    head->kind = T_EOI;
    head->src = src;
    if (src == NULL) {
        return false;
    }
    head->b = src->text.ptr;
    head->e = src->text.ptr;
    if (!vcl__lex(cc, src, &own) || !expand_includes(cc, head->next)) {
        return false;
    }
    struct token *end = own.last;
    struct token_list built_in = {0};
    src = source_new(cc, "builtin", "<builtin>", str_of(vcl__builtin_text));
    bool is_fine = vcl__lex(cc, src, &built_in);
    CHECK(is_fine);
    note_builtin_subs(cc, built_in.first);
    end->prev->next = built_in.first;
    built_in.first->prev = end->prev;
    cc->tokens = (struct token_list){head->next, built_in.last};
    return true;
}
