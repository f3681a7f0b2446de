/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* ESI documents: what is kept, what is left out, what goes in, what is complained about; and that
 * none of it depends on how the document arrives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/sb.h"
#include "filter/esi.h"

enum { TOLD_MAX = 1 << 16 };

struct told {
    char *kept_buf, *notes_buf;
    struct sb kept;  /* for the client, with {host|url} where something goes in */
    struct sb notes; /* one line each */
    uint64_t bytes;
    bool has_found;
};

static struct told told_new(void)
{
    struct told t = {.kept_buf = xmalloc(TOLD_MAX), .notes_buf = xmalloc(TOLD_MAX)};
    t.kept = sb_of(t.kept_buf, TOLD_MAX);
    t.notes = sb_of(t.notes_buf, TOLD_MAX);
    return t;
}

static void told_free(struct told *t)
{
    free(t->kept_buf);
    free(t->notes_buf);
}

static void tell(struct told *t, const struct esi_event *e)
{
    static const char *const weights[] = {"", "WARN ", "ERR "};
    switch (e->kind) {
    case ESI_KEEP:
        sb_put(&t->kept, e->bytes);
        t->bytes += e->bytes.len;
        break;
    case ESI_SKIP:
        t->bytes += e->bytes.len;
        break;
    case ESI_INCLUDE:
        sb_printf(&t->kept, "{%s%.*s|%.*s}", e->goes_on ? "+" : "", STR_ARG(e->host),
                  STR_ARG(e->url));
        break;
    case ESI_NOTE:
        sb_printf(&t->notes, "%s%u %.*s\n", weights[e->weight], (unsigned)e->after,
                  STR_ARG(e->text));
        break;
    case ESI_MORE:
    case ESI_DONE:
        break;
    }
}

/* chunk 0: sizes of 0 to 3 by the series. */
static struct told parse(struct str doc, unsigned flags, size_t chunk, struct rng *rng)
{
    struct told t = told_new();
    struct esi_parser *p = esi_parser_new(STR("/dir/page?a=/b/"), flags);
    struct esi_event e = {.kind = ESI_MORE};
    for (size_t at = 0; e.kind != ESI_DONE;) {
        size_t len = chunk > 0 ? chunk : (size_t)rng_below(rng, 4);
        len = len > doc.len - at ? doc.len - at : len;
        /* A copy of exactly these bytes, so that the sanitizer sees who reads beyond. */
        char *copy = str_dup((struct str){doc.ptr + at, len});
        struct str in = {copy, len};
        do {
            e = esi_parse(p, &in, at + len == doc.len);
            tell(&t, &e);
        } while (e.kind != ESI_MORE && e.kind != ESI_DONE);
        assert_int_equal(in.len, 0);
        at += len;
        free(copy);
    }
    t.has_found = esi_parser_found(p);
    esi_parser_free(&p);
    assert_int_equal(t.bytes, doc.len);
    assert_false(t.kept.overflow || t.notes.overflow);
    return t;
}

static const struct {
    const char *doc;
    const char *kept;
    const char *notes;
    unsigned flags;
} cases[] = {
    /* Elements. */
    {"<html>A<esi:include src=\"/b\"/>C</html>", "<html>A{|/b}C</html>", "", 0},
    {"<a><esi:remove>x<b>y</b><!-- z --></esi:remove>c", "<a>c", "", 0},
    {"<a><esi:comment text=\"x\"/>c", "<a>c", "", 0},
    {"<a><!--esi b <esi:include src='/c'/> d-->e", "<a> b {|/c} de", "", 0},
    {"<a><!--esi b <!-- c --> d --> e", "<a> b <!-- c --> d --> e", "", 0},
    {"<a><!--esi b-----> c", "<a> b--- c", "", 0},
    {"<a><!--esi b -x--y--> c", "<a> b -x--y c", "", 0},
    {"<a><!-- <esi:include src='/c'/> --><!----><esi:include src='/d'/>",
     "<a><!-- <esi:include src='/c'/> --><!---->{|/d}", "", 0},
    {"<a><!-- x ---><esi:include src='/d'/>", "<a><!-- x --->{|/d}", "", 0},
    {"<a><![CDATA[ <esi:include src='/c'/> ]]]><esi:include src='/d'/>",
     "<a><![CDATA[ <esi:include src='/c'/> ]]]>{|/d}", "", 0},
    {"<a <esi:include src='/c'/> >", "<a <esi:include src='/c'/> >", "", 0},
    {"<a <esi:include src='/c'/> >", "<a {|/c} >", "", ESI_IGNORE_OTHER_ELEMENTS},
    {"<><<esi:include src='/c'/>", "<><<esi:include src='/c'/>", "", 0},
    {"<><<esi:include src='/c'/>", "<><{|/c}", "", ESI_IGNORE_OTHER_ELEMENTS},
    {"<a>no tags at all</a><esi", "<a>no tags at all</a><esi", "ERR 0 VEP ended inside a tag\n", 0},
    /* Where an include points. */
    {"<esi:include src=\"/a?b=c&amp;d=&lt;&gt;&quot;&apos;&x;\"/>", "{|/a?b=c&d=<>\"'&x;}", "", 0},
    {"<esi:include src='b'/><esi:include src='b/c?d'/>", "{|/dir/b}{|/dir/b/c?d}", "", 0},
    {"<esi:include src='http://h:80/b'/>", "{h:80|/b}", "", 0},
    {"<esi:include src=/b />", "{|/b}", "", 0},
    {"<esi:include onerror=\"continue\" src='/b'/>", "{+|/b}", "", 0},
    {"<esi:include src='/b'onerror='stop' x='y'/>", "{|/b}", "", 0},
    {"<esi:include src='/b'></esi:include>", "{|/b}",
     "WARN 0 ESI 1.0 <esi:include> lacks final '/'\n"
     "ERR 22 ESI 1.0 </esi:include> illegal end-tag\n",
     0},
    {"<esi:include src='http://h'/><esi:include src='http:///a'/>", "",
     "ERR 0 ESI 1.0 <esi:include> invalid src= URL\n"
     "ERR 29 ESI 1.0 <esi:include> invalid src= URL\n",
     0},
    {"<esi:include src='https://h/b'/>", "", "WARN 0 ESI 1.0 <esi:include> with https:// ignored\n",
     0},
    {"<esi:include src='https://h/b'/>", "{h|/b}",
     "WARN 0 ESI 1.0 <esi:include> https:// treated as http://\n", ESI_IGNORE_HTTPS},
    {"<esi:include src='/a\x01'/>", "", "ERR 0 ESI 1.0 <esi:include> invalid src= URL\n", 0},
    /* Complaints. */
    {"<a><esi:include src='/b' src='/c'/>d", "<a>d",
     "ERR 3 ESI 1.0 <esi:include> has multiple src= attributes\n", 0},
    {"<a><esi:include src='/b c'/>d", "<a>d",
     "ERR 3 ESI 1.0 <esi:include> has whitespace in src= attribute\n", 0},
    {"<a><esi:include/>d", "<a>d", "ERR 3 ESI 1.0 <esi:include> lacks src attr\n", 0},
    {"<a><esi:include src=/b>d", "<a>d", "ERR 3 XML 1.0 Missing end attribute delimiter\n", 0},
    {"<a><esi:include src= '/b'>d", "<a>d", "ERR 3 XML 1.0 Illegal attribute delimiter\n", 0},
    {"<a><esi:include src\n='/b'/>d", "<a>d", "ERR 3 XML 1.0 Illegal attr char\n", 0},
    {"<a><esi:include =/>d", "<a>d", "ERR 3 XML 1.0 Illegal attribute start char\n", 0},
    {"<a><esi:include / >d", "<a>d", "ERR 3 XML 1.0 '>' does not follow '/' in tag\n", 0},
    {"<a><esi:includes src='/b'/>d", "<a>d", "ERR 3 XML 1.0 Illegal attribute start char\n", 0},
    {"<a><esi:bogus x='/b'/>d", "<a>d", "ERR 3 ESI 1.0 <esi:bogus> element\n", 0},
    {"<a><esi:comment>d</esi:comment>", "<a>d",
     "ERR 3 ESI 1.0 <esi:comment> needs final '/'\n"
     "ERR 17 ESI 1.0 </esi:comment> illegal end-tag\n",
     0},
    {"<a><esi:remove/></esi:remove>b", "<a>b",
     "ERR 3 ESI 1.0 <esi:remove/> not legal\nERR 16 ESI 1.0 <esi:remove> not open\n", 0},
    {"<a><esi:remove>x<esi:include src='/c'/><!--esi y--><esi:comment/><esi:remove></esi:remove>b",
     "<a>b",
     "ERR 3 ESI 1.0 <esi:include> element nested in <esi:remove>\n"
     "ERR 3 ESI 1.0 Nested <!--esi element in <esi:remove>\n"
     "ERR 3 ESI 1.0 <esi:comment> element nested in <esi:remove>\n"
     "ERR 3 ESI 1.0 <esi:remove> already open\n",
     0},
    {"<a><esi:include src='/b", "<a>", "ERR 3 VEP ended inside a tag\n", 0},
    {"<a><![CDAT", "<a><![CDAT", "ERR 0 VEP ended inside a tag\n", 0},
    {"<a><!-- b", "<a><!-- b", "ERR 0 VEP ended inside a tag\n", 0},
    /* Nothing of a lost tag goes into the next one. */
    {"<a><esi:include src='/b' =/><esi:include onerror='continue' =/><esi:include />", "<a>",
     "ERR 3 XML 1.0 Illegal attribute start char\nERR 28 XML 1.0 Illegal attribute start char\n"
     "ERR 63 ESI 1.0 <esi:include> lacks src attr\n",
     0},
    /* Whether it is a document at all. */
    {" \r\n\t<esi:include src='/b'/>", " \r\n\t{|/b}", "", 0},
    {"x<esi:include src='/b'/>", "x<esi:include src='/b'/>",
     "0 No ESI processing, first char not '<'. (See feature esi_disable_xml_check)\n", 0},
    {"x<esi:include src='/b'/>", "x{|/b}", "", ESI_DISABLE_XML_CHECK},
    {"\xef\xbb\xbf<esi:include src='/b'/>", "\xef\xbb\xbf<esi:include src='/b'/>",
     "0 No ESI processing, first char not '<' but BOM. (See feature esi_remove_bom)\n", 0},
    {"\xef\xbb\xbf<esi:include src='/b'/>", "{|/b}", "", ESI_REMOVE_BOM},
    {"\xeb\xbb\xbf<esi:include src='/b'/>", "{|/b}", "", ESI_REMOVE_BOM},
    {"\xef\xbbx", "\xef\xbbx",
     "0 No ESI processing, first char not '<'. (See feature esi_disable_xml_check)\n",
     ESI_REMOVE_BOM},
    {"", "", "", 0},
    {"<", "<", "ERR 0 VEP ended inside a tag\n", 0},
};

static void check_told(const struct told *t, struct str kept, struct str notes)
{
    if (!str_eq(sb_str(&t->kept), kept) || !str_eq(sb_str(&t->notes), notes)) {
        print_error("kept  %.*s\nnotes %.*s\n", STR_ARG(sb_str(&t->kept)),
                    STR_ARG(sb_str(&t->notes)));
        print_error("not   %.*s\nnor   %.*s\n", STR_ARG(kept), STR_ARG(notes));
        fail();
    }
}

static void documents_are_understood(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        struct told t = parse(str_of(cases[n].doc), cases[n].flags, SIZE_MAX, NULL);
        check_told(&t, str_of(cases[n].kept), str_of(cases[n].notes));
        told_free(&t);
    }
}

static void pieces_make_no_difference(void **state)
{
    (void)state;
    struct rng rng;
    rng.state = 7;
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        for (size_t chunk = 0; chunk < 12; chunk++) {
            struct told t = parse(str_of(cases[n].doc), cases[n].flags, chunk, &rng);
            check_told(&t, str_of(cases[n].kept), str_of(cases[n].notes));
            told_free(&t);
        }
    }
}

/* Documents put together of what the parser looks for. */
static struct str random_doc(struct rng *rng, char *buf, size_t cap)
{
    static const char *const parts[] = {"<",
                                        "<!--",
                                        "<!--esi ",
                                        "-->",
                                        "--",
                                        "-",
                                        ">",
                                        "/>",
                                        "<esi:",
                                        "include",
                                        " src=",
                                        "'/x'",
                                        "\"y\"",
                                        "remove",
                                        "<esi:remove>",
                                        "</esi:remove>",
                                        "comment",
                                        "</esi:",
                                        "<![CDATA[",
                                        "]]>",
                                        "]",
                                        "<p>",
                                        " ",
                                        "\n",
                                        "text",
                                        "&amp;",
                                        " onerror='continue'",
                                        "<esi:include src='http://h/z'/>",
                                        "\xef\xbb\xbf"};
    struct sb sb = sb_of(buf, cap);
    for (uint64_t n = rng_below(rng, 30); n > 0; n--) {
        sb_put(&sb, str_of(parts[rng_below(rng, sizeof parts / sizeof parts[0])]));
    }
    return sb_str(&sb);
}

static void pieces_of_random_documents_make_no_difference(void **state)
{
    (void)state;
    struct rng rng;
    rng.state = 11;
    char buf[2048];
    for (unsigned n = 0; n < 3000; n++) {
        struct str doc = random_doc(&rng, buf, sizeof buf);
        unsigned flags = (unsigned)rng_below(&rng, 16);
        struct told whole = parse(doc, flags, SIZE_MAX, NULL);
        struct told parts = parse(doc, flags, n % 4, &rng);
        check_told(&parts, sb_str(&whole.kept), sb_str(&whole.notes));
        assert_int_equal(whole.has_found, parts.has_found);
        told_free(&whole);
        told_free(&parts);
    }
}

static void only_what_has_tags_is_esi(void **state)
{
    (void)state;
    static const struct {
        const char *doc;
        bool has_found;
    } docs[] = {
        {"<a>b</a>", false},        {"<a><!-- b --></a>", false}, {"<a><!--esi b", false},
        {"<a><!--esi b-->", true},  {"<a><esi:x>", true},         {"x<esi:remove>", false},
        {"<a></esi:remove>", true},
    };
    for (size_t n = 0; n < sizeof docs / sizeof docs[0]; n++) {
        struct told t = parse(str_of(docs[n].doc), 0, 3, NULL);
        assert_int_equal(t.has_found, docs[n].has_found);
        told_free(&t);
    }
}

static void long_attributes_are_refused(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        char *doc = xmalloc(ESI_VALUE_MAX + 64);
        struct sb sb = sb_of(doc, ESI_VALUE_MAX + 64);
        sb_lit(&sb, "<esi:include src='/");
        for (size_t n = 1; n < ESI_VALUE_MAX + more; n++) {
            sb_chr(&sb, 'x');
        }
        sb_lit(&sb, "'/>end");
        struct told t = parse(sb_str(&sb), 0, 100, NULL);
        assert_true(str_ends(sb_str(&t.kept), STR("end")));
        if (more > 0) {
            assert_true(str_eq(sb_str(&t.kept), STR("end")));
            assert_true(
                str_eq(sb_str(&t.notes), STR("ERR 0 ESI 1.0 <esi:include> attribute too long\n")));
        } else {
            assert_int_equal(t.kept.len, ESI_VALUE_MAX + strlen("{|}end"));
            assert_int_equal(t.notes.len, 0);
        }
        told_free(&t);
        free(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_understood),
        cmocka_unit_test(pieces_make_no_difference),
        cmocka_unit_test(pieces_of_random_documents_make_no_difference),
        cmocka_unit_test(only_what_has_tags_is_esi),
        cmocka_unit_test(long_attributes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
