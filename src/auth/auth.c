/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Users in a file, and the words in which clients name themselves.
 *
 * Hashes are crypt(3)'s, because operators have tools that make them; what they cost is what they
 * are for.  Neither the time of a check nor its comparison tells which of name and password was
 * wrong: a name that nobody has is hashed as well, against the hash of the first user. */
#include "auth/auth_priv.h"

#include <crypt.h>
#include <stdlib.h>

#include "base/mem.h"

struct user {
    struct str name;
    char *hash; /* NUL-terminated */
};

struct auth {
    uint32_t magic;
    bool is_sasl;
    pthread_mutex_t asks; /* SASL's plugins are made for one thread */
    struct user *users;
    unsigned count;
    char *text; /* what names and hashes point into */
};
#define AUTH_MAGIC 0x41b7d20cu

static bool is_name(struct str name)
{
    if (name.len == 0 || name.len > AUTH_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c <= ' ' || c == 0x7f || c == ':') {
            return false;
        }
    }
    return true;
}

static bool is_password(struct str password)
{
    return password.len > 0 && password.len <= AUTH_PASSWORD_MAX &&
           memchr(password.ptr, '\0', password.len) == NULL;
}

/* The hash of a password with another's salt and method; "" when crypt(3) does not know it. */
static void hash_of(const char *password, const char *setting, char *out, size_t cap)
{
    struct crypt_data *data = xcalloc(1, sizeof *data);
    const char *hash = crypt_rn(password, setting, data, (int)sizeof *data);
    size_t len = hash == NULL || hash[0] == '*' ? 0 : strlen(hash);
    CHECK(len < cap);
    if (len > 0) {
        memcpy(out, hash, len);
    }
    out[len] = '\0';
    explicit_bzero(data, sizeof *data);
    free(data);
}

/* Looks at every byte of both, whatever it finds. */
static bool is_same(const char *a, const char *b)
{
    size_t len = strlen(b);
    unsigned differs = strlen(a) != len;
    size_t most = differs ? 0 : len;
    for (size_t i = 0; i < most; i++) {
        differs |= (unsigned char)a[i] ^ (unsigned char)b[i];
    }
    return differs == 0 && len > 0;
}

static bool is_there(const struct auth *auth, struct str name)
{
    for (unsigned i = 0; i < auth->count; i++) {
        if (str_eq(auth->users[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* One line, whose end is a byte that may be written. */
static enum rc take_line(struct auth *auth, char *line, size_t len)
{
    struct str rest = str_trim((struct str){line, len});
    if (rest.len > 0 && rest.ptr[rest.len - 1] == '\r') {
        rest.len--;
    }
    if (rest.len == 0 || rest.ptr[0] == '#') {
        return RC_OK;
    }
    struct str name = str_cut(&rest, ':');
    if (!is_name(name) || rest.ptr == NULL || rest.len == 0 || is_there(auth, name)) {
        return RC_MALFORMED;
    }
    if (auth->count == AUTH_USERS_MAX) {
        return RC_LIMIT;
    }
    char *hash = line + (rest.ptr - line);
    hash[rest.len] = '\0';
    int verdict = crypt_checksalt(hash);
    /* A bare password may look like a hash of the oldest method, which has no sign. */
    if (hash[0] != '$' || verdict == CRYPT_SALT_INVALID || verdict == CRYPT_SALT_METHOD_DISABLED) {
        return RC_MALFORMED;
    }
    auth->users = xrealloc(auth->users, (auth->count + 1) * sizeof *auth->users);
    auth->users[auth->count++] = (struct user){name, hash};
    return RC_OK;
}

enum rc auth_of_file(struct auth **out, struct str text, unsigned *line)
{
    struct auth *auth = xcalloc(1, sizeof *auth);
    auth->magic = AUTH_MAGIC;
    mutex_init(&auth->asks);
    auth->text = xmalloc(text.len + 1);
    if (text.len > 0) {
        memcpy(auth->text, text.ptr, text.len);
    }
    enum rc rc = RC_OK;
    *line = 0;
    for (size_t at = 0; at < text.len && rc == RC_OK;) {
        size_t len = str_find((struct str){auth->text + at, text.len - at}, '\n');
        rc = take_line(auth, auth->text + at, len);
        at += len + 1;
        ++*line;
    }
    if (rc == RC_OK && auth->count == 0) {
        rc = RC_NOT_FOUND;
    }
    if (rc != RC_OK) {
        auth_free(&auth);
    }
    *out = auth;
    return rc;
}

enum rc auth_of_sasl(struct auth **out)
{
    *out = NULL;
    enum rc rc = auth__sasl_start();
    if (rc == RC_OK) {
        struct auth *auth = xcalloc(1, sizeof *auth);
        auth->magic = AUTH_MAGIC;
        mutex_init(&auth->asks);
        auth->is_sasl = true;
        *out = auth;
    }
    return rc;
}

void auth_free(struct auth **auth_of)
{
    struct auth *auth = *auth_of;
    *auth_of = NULL;
    if (auth == NULL) {
        return;
    }
    CHECK_OBJ(auth, AUTH_MAGIC);
    auth->magic = 0;
    mutex_fini(&auth->asks);
    free(auth->users);
    free(auth->text);
    free(auth);
}

static bool check_file(const struct auth *auth, struct str user, const char *password)
{
    const struct user *found = NULL;
    for (unsigned i = 0; i < auth->count; i++) {
        found = str_eq(auth->users[i].name, user) ? &auth->users[i] : found;
    }
    const char *hash = found == NULL ? auth->users[0].hash : found->hash;
    char made[CRYPT_OUTPUT_SIZE] = {0};
    hash_of(password, hash, made, sizeof made);
    bool is_right = is_same(made, hash);
    return is_right && found != NULL;
}

bool auth_check(struct auth *auth, struct str user, struct str password)
{
    CHECK_OBJ(auth, AUTH_MAGIC);
    if (!is_name(user) || !is_password(password)) {
        return false;
    }
    char copy[AUTH_PASSWORD_MAX + 1];
    memcpy(copy, password.ptr, password.len);
    copy[password.len] = '\0';
    bool is_right = false;
    if (auth->is_sasl) {
        char name[AUTH_NAME_MAX + 1];
        memcpy(name, user.ptr, user.len);
        name[user.len] = '\0';
        is_right = auth__sasl_check(&auth->asks, name, copy);
    } else {
        is_right = check_file(auth, user, copy);
    }
    explicit_bzero(copy, sizeof copy);
    return is_right;
}

enum rc auth_put_line(struct sb *sb, struct str user, struct str password)
{
    if (!is_name(user) || !is_password(password)) {
        return RC_MALFORMED;
    }
    char copy[AUTH_PASSWORD_MAX + 1];
    memcpy(copy, password.ptr, password.len);
    copy[password.len] = '\0';
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    char hash[CRYPT_OUTPUT_SIZE] = "";
    if (crypt_gensalt_rn("$y$", 0, NULL, 0, setting, (int)sizeof setting) != NULL) {
        hash_of(copy, setting, hash, sizeof hash);
    }
    explicit_bzero(copy, sizeof copy);
    if (hash[0] == '\0') {
        return RC_UNSUPPORTED;
    }
    sb_put(sb, user);
    sb_chr(sb, ':');
    sb_put(sb, str_of(hash));
    sb_chr(sb, '\n');
    return RC_OK;
}

enum rc auth_plain(struct str message, struct str *user, struct str *password)
{
    if (message.len > AUTH_LINE_MAX) {
        return RC_MALFORMED;
    }
    struct str rest = message;
    struct str for_whom = str_cut(&rest, '\0');
    if (rest.ptr == NULL) {
        return RC_MALFORMED;
    }
    *user = str_cut(&rest, '\0');
    *password = rest;
    if (rest.ptr == NULL || (for_whom.len > 0 && !str_eq(for_whom, *user))) {
        return RC_MALFORMED;
    }
    return is_name(*user) && is_password(*password) ? RC_OK : RC_MALFORMED;
}

enum rc auth_words(struct str text, struct str *user, struct str *password)
{
    struct str rest = str_trim(text);
    *user = str_cut(&rest, ' ');
    *password = rest.ptr == NULL ? STR_NONE : str_trim(rest);
    return is_name(*user) && is_password(*password) ? RC_OK : RC_MALFORMED;
}
