/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Encodings of bytes.
 *
 * The four kinds of base64 differ in two digits and in the padding.  Padding may be missing when
 * reading, since links lose it; where it stands, only padding may follow, which Varnish does not
 * insist on, and then makes up bytes that nobody wrote.  An odd number of hexadecimal digits has a
 * zero before it. */
#include "vcl/blob_codec.h"

#include "base/check.h"

struct base64 {
    const char *digits;
    char pad; /* '\0': none */
};

#define BASE62 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const struct base64 *base64_of(enum blob_encoding encoding)
{
    static const struct base64 kinds[BLOB_ENCODING__COUNT] = {
        [BLOB_BASE64] = {BASE62 "+/", '='},
        [BLOB_BASE64URL] = {BASE62 "-_", '='},
        [BLOB_BASE64URLNOPAD] = {BASE62 "-_", '\0'},
        [BLOB_BASE64CF] = {BASE62 "-~", '_'},
    };
    CHECK(kinds[encoding].digits != NULL);
    return &kinds[encoding];
}

/* ---- reading ---- */

static int base64_digit(const struct base64 *kind, char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == kind->digits[62] ? 62 : c == kind->digits[63] ? 63 : -1;
}

static enum rc base64_decode(const struct base64 *kind, struct str text, struct sb *out)
{
    size_t digits = text.len;
    while (digits > 0 && kind->pad != '\0' && text.ptr[digits - 1] == kind->pad) {
        digits--;
    }
    size_t in_last = digits % 4;
    if (digits < text.len && (in_last < 2 || text.len - digits > 4 - in_last)) {
        return RC_MALFORMED;
    }
    uint32_t bits = 0;
    for (size_t n = 0; n < digits; n++) {
        int digit = base64_digit(kind, text.ptr[n]);
        if (digit < 0) {
            return RC_MALFORMED;
        }
        bits = bits << 6 | (uint32_t)digit;
        if (n % 4 != 0) {
            /* Two, four, no bits are left over after the second, third, fourth digit. */
            sb_chr(out, (char)(bits >> (2 * (3 - n % 4)) & 0xff));
        }
    }
    return RC_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum rc hex_decode(struct str text, struct sb *out)
{
    int high = text.len % 2 == 1 ? 0 : -1;
    for (size_t n = 0; n < text.len; n++) {
        int digit = hex_digit(text.ptr[n]);
        if (digit < 0) {
            return RC_MALFORMED;
        }
        if (high < 0) {
            high = digit;
            continue;
        }
        sb_chr(out, (char)(high << 4 | digit));
        high = -1;
    }
    return RC_OK;
}

static enum rc url_decode(struct str text, struct sb *out)
{
    for (size_t n = 0; n < text.len; n++) {
        if (text.ptr[n] != '%') {
            sb_chr(out, text.ptr[n]);
            continue;
        }
        int high = text.len - n > 2 ? hex_digit(text.ptr[n + 1]) : -1;
        int low = text.len - n > 2 ? hex_digit(text.ptr[n + 2]) : -1;
        if (high < 0 || low < 0) {
            return RC_MALFORMED;
        }
        sb_chr(out, (char)(high << 4 | low));
        n += 2;
    }
    return RC_OK;
}

enum rc vcl__blob_decode(enum blob_encoding encoding, struct str text, struct sb *out)
{
    switch (encoding) {
    case BLOB_IDENTITY:
        sb_put(out, text);
        return RC_OK;
    case BLOB_HEX:
        return hex_decode(text, out);
    case BLOB_URL:
        return url_decode(text, out);
    case BLOB_BASE64:
    case BLOB_BASE64URL:
    case BLOB_BASE64URLNOPAD:
    case BLOB_BASE64CF:
    case BLOB_ENCODING__COUNT:
        break;
    }
    return base64_decode(base64_of(encoding), text, out);
}

/* ---- writing ---- */

size_t vcl__blob_encoded_max(enum blob_encoding encoding, size_t len)
{
    switch (encoding) {
    case BLOB_IDENTITY:
        return len;
    case BLOB_HEX:
        return 2 * len;
    case BLOB_URL:
        return 3 * len;
    case BLOB_BASE64:
    case BLOB_BASE64URL:
    case BLOB_BASE64URLNOPAD:
    case BLOB_BASE64CF:
    case BLOB_ENCODING__COUNT:
        break;
    }
    return (len + 2) / 3 * 4;
}

static void base64_encode(const struct base64 *kind, struct str bytes, struct sb *out)
{
    for (size_t at = 0; at < bytes.len; at += 3) {
        size_t n = bytes.len - at < 3 ? bytes.len - at : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++) {
            bits = bits << 8 | (k < n ? (unsigned char)bytes.ptr[at + k] : 0);
        }
        for (size_t k = 0; k < 4; k++) {
            if (k <= n) {
                sb_chr(out, kind->digits[bits >> (18 - 6 * k) & 63]);
            } else if (kind->pad != '\0') {
                sb_chr(out, kind->pad);
            }
        }
    }
}

static void put_hex(struct sb *out, bool upper, unsigned char byte)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    sb_chr(out, digits[byte >> 4]);
    sb_chr(out, digits[byte & 15]);
}

/* RFC 3986 section 2.3. */
static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

void vcl__blob_encode(enum blob_encoding encoding, bool upper, struct str bytes, struct sb *out)
{
    if (encoding == BLOB_IDENTITY) {
        sb_put(out, bytes);
        return;
    }
    if (encoding != BLOB_HEX && encoding != BLOB_URL) {
        base64_encode(base64_of(encoding), bytes, out);
        return;
    }
    for (size_t n = 0; n < bytes.len; n++) {
        if (encoding == BLOB_URL && is_unreserved(bytes.ptr[n])) {
            sb_chr(out, bytes.ptr[n]);
            continue;
        }
        if (encoding == BLOB_URL) {
            sb_chr(out, '%');
        }
        put_hex(out, upper, (unsigned char)bytes.ptr[n]);
    }
}
