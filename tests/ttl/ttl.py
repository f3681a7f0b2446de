#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""How long responses are fresh, compared with the distribution's varnishd, response by response.

    ttl.py --daemon build/bin/objmapperd [--reference /usr/sbin/varnishd] [--seed N]

Both daemons ask the same origin for the same list of responses: each header and status on its own, then a seeded mixture.
Their TTL log records must say the same (figures that hang on a clock: to within two seconds), and so must the Age that
the client sees, and what the next request for each is: a hit, a hit-for-miss, or a miss.  Exit status 77 when the reference is not there.
"""
import argparse
import os
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import reference                              # noqa: E402
from objm.client import Client                          # noqa: E402
from objm.daemon import Daemon                          # noqa: E402
from objm.server import Server                          # noqa: E402

SLACK_S = 2
ROUNDS = 4

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def fixdate(when):
    t = time.gmtime(when)
    return f"{DAYS[t.tm_wday]}, {t.tm_mday:02} {MONTHS[t.tm_mon - 1]} {t.tm_year:04} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"


def rfc850(when):
    t = time.gmtime(when)
    return (f"{LONG_DAYS[t.tm_wday]}, {t.tm_mday:02}-{MONTHS[t.tm_mon - 1]}-{t.tm_year % 100:02} "
            f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT")


def asctime(when):
    t = time.gmtime(when)
    return f"{DAYS[t.tm_wday]} {MONTHS[t.tm_mon - 1]} {t.tm_mday:2} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} {t.tm_year:04}"


def iso(when):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when))


FORMS = {"fix": fixdate, "850": rfc850, "asc": asctime, "iso": iso}


class At:
    """A date that is written when the response is: seconds from now, in some form."""

    def __init__(self, seconds, form="fix", text="%s"):
        self.seconds, self.form, self.text = seconds, form, text

    def __repr__(self):
        return f"<{self.text % self.form} {self.seconds:+}>"

    def write(self, now):
        return self.text % FORMS[self.form](now + self.seconds)


STATUSES = (200, 201, 202, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 408, 410, 414, 421, 429, 451,
            500, 501, 502, 503, 504, 599)
DATES = (At(0), At(-5), At(5), At(-9), At(-12), At(12), At(-100), At(100), At(-100, "850"), At(-100, "asc"), At(-100, "iso"),
         "0", "-1", "", "garbage", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 01 Jan 1900 00:00:00 GMT",
         "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37",
         "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 6 Nov 1994 08:49:37 GMT", "sun, 06 nov 1994 08:49:37 gmt",
         "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 24:49:37 GMT",
         "Sun, 06 Nov 1994 08:49:60 GMT", "Tue, 31 Feb 2040 08:49:37 GMT", "Wed, 29 Feb 2040 08:49:37 GMT",
         "Sun, 07 Feb 2106 06:28:16 GMT", "Tue, 19 Jan 2038 03:14:08 GMT")
EXPIRES = (At(30), At(60), At(-60), At(1000), At(60, "850"), At(60, "asc"), At(60, "iso"), At(60, "fix", "  %s  "),
           At(60, "fix", '"%s"'), At(60, "fix", "%s, x"), At(-100), At(3), *DATES[11:])
AGES = ("0", "1", "10", "29", "30", "31", "35", "45", "100", "200", "-1", "+5", "5.5", "5x", "5 ", "5,6", "", "x", "0x10", "007",
        "2147483647", "2147483648", "4294967295", "4294967296", "99999999999999999999999")
NUMBERS = ("0", "1", "30", "60", "-1", "+60", "60.5", "60x", "60 x", "", " 60", "\"60\"", "\"60", "'60'", "0x60", "0060", "6e3",
           "2147483647", "2147483648", "4294967295", "4294967296", "99999999999999999999999", "60;x", "=60", "60 , x")
CONTROLS = ("public", "private", "no-cache", "no-store", "must-revalidate", "proxy-revalidate", "no-transform", "immutable",
            "must-understand", "private=\"set-cookie\"", "no-cache=\"x-a, x-b\"", "No-Store", "x-no-store", "no-storex",
            "x=\"no-cache\"", "max-age", "s-maxage", "max-age=", "max-age =60", "max-age= 60", "MAX-AGE=60", "xmax-age=60",
            "max-age=60, max-age=30", "max-age=30, max-age=60", "max-age=60,s-maxage=30", "s-maxage=30,max-age=60",
            "s-maxage=0,max-age=60", "max-age=60,,,public", ",max-age=60", "x=\"max-age=5, y\", max-age=60", "max-age=60;public",
            "public max-age=60", "stale-while-revalidate=77", "max-age=60, stale-while-revalidate=77",
            "max-age=60, stale-while-revalidate", "max-age=60, stale-while-revalidate=0", "max-age=0, stale-while-revalidate=77",
            "max-age=60, stale-if-error=77", "s-maxage=x, max-age=60", "s-maxage, max-age=60", "max-age=\"30\", s-maxage=60",
            "stale-while-revalidate=x, max-age=60", "max-age=60 stale-while-revalidate=77")


def single_cases():
    for status in STATUSES:
        yield status, ()
        yield status, (("Cache-Control", "max-age=60"),)
        yield status, (("Expires", At(60)),)
        yield status, (("Cache-Control", "max-age=60, stale-while-revalidate=77"),)
    for value in CONTROLS:
        yield 200, (("Cache-Control", value),)
    for value in NUMBERS:
        yield 200, (("Cache-Control", f"max-age={value}"),)
        yield 200, (("Cache-Control", f"s-maxage={value}, max-age=45"),)
        yield 200, (("Cache-Control", f"max-age=45, stale-while-revalidate={value}"),)
    for value in AGES:
        yield 200, (("Age", value),)
        yield 200, (("Age", value), ("Cache-Control", "max-age=30"))
    for value in EXPIRES:
        yield 200, (("Expires", value),)
        yield 302, (("Expires", value),)
        for date in DATES[:10]:
            yield 200, (("Expires", value), ("Date", date))
    for value in DATES:
        yield 200, (("Date", value), ("Expires", At(60)))
        yield 200, (("Date", value),)
    yield 200, (("Cache-Control", "max-age=60"), ("Cache-Control", "max-age=30"))
    yield 200, (("Cache-Control", "public"), ("Cache-Control", "s-maxage=30"))
    yield 200, (("Cache-Control", ""), ("Cache-Control", "s-maxage=30"))
    yield 200, (("Cache-Control", "max-age=60"), ("Expires", At(-60)))
    yield 200, (("Expires", At(60)), ("Expires", At(30)))
    yield 200, (("Age", "10"), ("Age", "20"))
    yield 200, (("Cache-Control", "max-age=60"), ("Cache-Control", "no-store"))
    yield 200, (("Cache-Control", "no-store"), ("Surrogate-Control", "max-age=5"))
    yield 200, (("Surrogate-Control", "no-store"),)
    yield 200, (("Surrogate-Control", "content=\"ESI/1.0\", No-Store"), ("Cache-Control", "max-age=60"))
    yield 200, (("Set-Cookie", "a=b"), ("Cache-Control", "max-age=60"))
    yield 200, (("Set-Cookie", ""),)
    yield 200, (("Vary", "*"),)
    yield 200, (("Vary", "x-a, *"),)
    yield 200, (("Vary", "x-a"),)
    yield 200, (("Pragma", "no-cache"),)


def mixed_cases(rng, count):
    def pick(share, values):
        return rng.choice(values) if rng.random() < share else None
    for _ in range(count):
        control = ", ".join(x for x in (pick(0.4, [f"max-age={n}" for n in ("0", "5", "30", "60", "x")]),
                                        pick(0.3, [f"s-maxage={n}" for n in ("0", "7", "40", "x")]),
                                        pick(0.3, ["stale-while-revalidate=20", "stale-while-revalidate=0"]),
                                        pick(0.1, ["private", "no-cache", "no-store", "must-revalidate", "public"])) if x)
        fields = [("Cache-Control", control or None), ("Age", pick(0.4, AGES)), ("Date", pick(0.6, DATES)),
                  ("Expires", pick(0.6, EXPIRES))]
        fields = [f for f in fields if f[1] is not None]
        rng.shuffle(fields)
        yield rng.choice((200, 200, 200, 404, 301, 302, 307, 500)), tuple(fields)


class Origin(Server):
    """Answers /ROUND/N with case N."""

    def __init__(self, cases):
        self.cases = cases
        super().__init__()

    def serve(self, conn):
        reader = conn.makefile("rb")
        while line := reader.readline():
            while reader.readline().strip():
                pass
            status, fields = self.cases[int(line.split()[1].split(b"/")[2])]
            now = time.time()
            lines = [f"HTTP/1.1 {status} Whatever"]
            lines += [f"{name}: {value.write(now) if isinstance(value, At) else value}" for name, value in fields]
            if status != 204:
                lines.append("Content-Length: 2")
            body = "" if status == 204 else "ok"
            conn.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


def records(daemon):
    """{url: [what each TTL record says]}, {url: [how each request was answered]}"""
    p = subprocess.run(["varnishlog", "-n", daemon.workdir, "-d", "-g", "vxid", "-i",
                        "Begin,ReqURL,BereqURL,TTL,Hit,HitMiss,HitPass,VCL_call,Timestamp"],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60, check=True)
    ttls, ways = {}, {}
    for block in p.stdout.decode(errors="replace").split("\n\n"):
        url = re.search(r"^-+ +(Bereq|Req)URL +(\S+)$", block, re.M)
        if url is None:
            continue
        if url[1] == "Bereq":
            now = float(re.search(r"^-+ +Timestamp +Start: (\S+)", block, re.M)[1])
            ttls.setdefault(url[2], []).append([normalised(r, now) for r in re.findall(r"^-+ +TTL +(.*)$", block, re.M)])
        else:
            way = re.findall(r"^-+ +VCL_call +(HIT|MISS|PASS)$", block, re.M)
            marks = re.findall(r"^-+ +(HitMiss|HitPass) ", block, re.M)
            ways.setdefault(url[2], []).append("+".join(marks + way))
    return ttls, ways


# What a figure of a TTL record is compared by, after its source: as it is, or as seconds from the record's own moment.
RFC_FIGURES = ("ttl", "grace", "keep", "now", "origin", "date", "expires", "max_age")
VCL_FIGURES = ("ttl", "grace", "keep", "origin")


def normalised(record, fetched_at):
    source, *figures, verdict = record.split()
    names = RFC_FIGURES if source == "RFC" else VCL_FIGURES
    said = dict(zip(names, figures))
    now = float(said.pop("now", fetched_at))
    out = {"source": source, "verdict": verdict}
    for name, text in said.items():
        value = float(text)
        # A date of about now is one that the origin wrote just before.
        out[name] = value - now if name in ("origin", "date", "expires") and abs(value - now) < 5000 else value
    return out


def same(a, b):
    """Theirs are floats, whose seconds are coarse in decades."""
    if a.keys() != b.keys():
        return False
    return all(x == b[k] if isinstance(x, str) else abs(x - b[k]) <= max(SLACK_S, 1e-6 * abs(x)) for k, x in a.items())


def is_known(fields):
    """What differs on purpose (docs/compatibility.md), or because their arithmetic overflows there."""
    said = dict(fields)
    age = said.get("Age", "")
    if age.isdigit() and int(age) >= 2**31 - 1:
        return True                             # born before 1970
    if said.get("Vary") == "x-a, *":
        return True
    far = [v for v in (said.get("Expires"), said.get("Date")) if isinstance(v, str)]
    return any(year in v for v in far for year in ("9999", "2106", "1900"))     # more than 2^31 seconds away


def ask(daemon, cases, turn):
    """{case: all that is compared}"""
    ages = {}
    with Client(daemon.address, timeout=60) as client:
        for case in cases:
            ages[case] = [int(client.get(f"/{turn}/{case}").header("age", "-1")) for _ in range(2)]
    time.sleep(0.5)         # the log's buffers
    ttls, ways = records(daemon)
    return {case: (ways.get(f"/{turn}/{case}"), ages[case], ttls.get(f"/{turn}/{case}")) for case in cases}


def are_alike(ours, theirs):
    (way, ages, ttls), (their_way, their_ages, their_ttls) = ours, theirs
    return (way == their_way and len(ttls) == len(their_ttls) and all(abs(x - y) <= SLACK_S for x, y in zip(ages, their_ages)) and
            all(len(x) == len(y) and all(map(same, x, y)) for x, y in zip(ttls, their_ttls)))


def compare(cases, ours, theirs):
    """The cases that differ, in each of several rounds: on a busy machine a lifetime may end between two requests."""
    left = [n for n, (_, fields) in enumerate(cases) if not is_known(fields)]
    for turn in range(ROUNDS):
        a, b = ask(ours, left, turn), ask(theirs, left, turn)
        assert None not in (x for said in b.values() for x in said), "the log of the reference is not whole"
        left = [n for n in left if None in a[n] or not are_alike(a[n], b[n])]
    for n in left:
        print(f"ttl: case {n}: {cases[n]}\n  ours:   {a[n]}\n  theirs: {b[n]}")
    return left


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--reference", default="/usr/sbin/varnishd")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--mixed", type=int, default=400)
    args = ap.parse_args()
    missing = reference.missing(args.reference)
    if missing:
        print(f"ttl: skipped, {missing}")
        return reference.SKIPPED
    cases = [*single_cases(), *mixed_cases(random.Random(args.seed), args.mixed)]
    origin = Origin(cases)
    common = ["-p", "vsl_space=64m", "-p", "default_keep=7"]
    backend = f"127.0.0.1:{origin.port}"
    with Daemon(os.path.abspath(args.daemon), backend, common) as ours, \
         Daemon(args.reference, backend, [*common, "-s", "malloc,32m"]) as theirs:
        bad = compare(cases, ours, theirs)
    print(f"ttl: {len(cases)} responses, seed {args.seed}: {len(bad)} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
