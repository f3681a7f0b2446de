/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bytes as text and back: the encodings of the blob module.  Pure. */
#ifndef VCL_BLOB_CODEC_H
#define VCL_BLOB_CODEC_H

#include "base/sb.h"

/* In the order of the module's ENUM. */
enum blob_encoding {
    BLOB_IDENTITY,
    BLOB_BASE64,
    BLOB_BASE64URL,
    BLOB_BASE64URLNOPAD,
    BLOB_BASE64CF,
    BLOB_HEX,
    BLOB_URL,
    BLOB_ENCODING__COUNT
};
#define BLOB_ENCODINGS "IDENTITY BASE64 BASE64URL BASE64URLNOPAD BASE64CF HEX URL"

/* Appends the bytes that the text stands for; never more than the text has.  RC_MALFORMED. */
MUST_USE enum rc vcl__blob_decode(enum blob_encoding encoding, struct str text, struct sb *out);

/* The most bytes that the text of `len` bytes can have. */
size_t vcl__blob_encoded_max(enum blob_encoding encoding, size_t len);
/* Appends the text; `upper`: hexadecimal digits are capitals. */
void vcl__blob_encode(enum blob_encoding encoding, bool upper, struct str bytes, struct sb *out);

#endif
