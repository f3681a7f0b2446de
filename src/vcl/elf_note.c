/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a .so file says of itself, read from its bytes.
 *
 * dlopen() runs a library's constructors before it returns, so a module of another version could do
 * anything before we see its table.  Its version therefore stands in an ELF note (PT_NOTE), which
 * can be read without loading it:
 *
 *     Elf64_Ehdr --e_phoff--> Elf64_Phdr[e_phnum] --PT_NOTE: p_offset, p_filesz--> notes
 *     note: u32 bytes of name, u32 bytes of description, u32 type, name, description, each of the
 *           last two filled up to four bytes.   Ours: "objmapper", type 1, u32 major, u32 minor
 *
 * The file is anybody's, so each offset is checked against its length. */
#include "vcl/modules.h"

#include <elf.h>
#include <string.h>

#include "base/str.h"

/* Copies `bytes` from the file; false beyond its end. */
static bool copy_out(const uint8_t *file, size_t len, uint64_t at, void *to, size_t bytes)
{
    if (at > len || bytes > len - at) {
        return false;
    }
    memcpy(to, file + at, bytes);
    return true;
}

static enum rc find_in_notes(const uint8_t *notes, size_t len, uint32_t *major, uint32_t *minor)
{
    uint64_t at = 0;
    Elf64_Nhdr head;
    while (copy_out(notes, len, at, &head, sizeof head)) {
        uint64_t name = at + sizeof head;
        uint64_t desc = name + (((uint64_t)head.n_namesz + 3) & ~UINT64_C(3));
        char text[sizeof OBJM_NOTE_NAME];
        uint32_t version[2];
        if (head.n_type == OBJM_NOTE_TYPE && head.n_namesz == sizeof text &&
            head.n_descsz == sizeof version && copy_out(notes, len, name, text, sizeof text) &&
            memcmp(text, OBJM_NOTE_NAME, sizeof text) == 0 &&
            copy_out(notes, len, desc, version, sizeof version)) {
            *major = version[0];
            *minor = version[1];
            return RC_OK;
        }
        at = desc + (((uint64_t)head.n_descsz + 3) & ~UINT64_C(3));
    }
    return RC_NOT_FOUND;
}

static bool is_ours(const Elf64_Ehdr *head)
{
    static const union {
        uint16_t word;
        uint8_t bytes[2];
    } order = {.word = 1};
    uint8_t data = order.bytes[0] == 1 ? ELFDATA2LSB : ELFDATA2MSB;
    return memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == ELFCLASS64 &&
           head->e_ident[EI_DATA] == data && head->e_type == ET_DYN &&
           head->e_phentsize == sizeof(Elf64_Phdr);
}

enum rc vcl_elf_note(const void *bytes, size_t len, uint32_t *major, uint32_t *minor)
{
    const uint8_t *file = bytes;
    Elf64_Ehdr head;
    if (!copy_out(file, len, 0, &head, sizeof head) || !is_ours(&head)) {
        return RC_MALFORMED;
    }
    for (unsigned n = 0; n < head.e_phnum; n++) {
        Elf64_Phdr part;
        uint64_t at;
        if (__builtin_add_overflow(head.e_phoff, (uint64_t)n * sizeof part, &at) ||
            !copy_out(file, len, at, &part, sizeof part)) {
            return RC_MALFORMED;
        }
        if (part.p_type != PT_NOTE || part.p_offset > len || part.p_filesz > len - part.p_offset) {
            continue;
        }
        if (find_in_notes(file + part.p_offset, part.p_filesz, major, minor) == RC_OK) {
            return RC_OK;
        }
    }
    return RC_NOT_FOUND;
}
