#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Fails on an #include or a symbol that runs upward or sideways between the rooms of src/.

    layering.py includes [--src DIR]         reads the sources
    layering.py symbols --libs DIR           reads the static libraries libobjm_ROOM.a under DIR with nm

The rooms' floors stand in the file `floors` beside this script.  Of another room one may include its doors (the
headers that its module() lists under DOORS) and its tables (.def); one may call what is not named room__*, the
project's sign for "inside the room only".
"""
import argparse
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOP_FLOOR = 100  # files of src/ itself, such as main.c, belong to no room and may use them all
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def read_floors(path):
    floors = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.split("#")[0].split()
            if words:
                floors[words[1]] = int(words[0])
    return floors


def read_doors(src, room):
    """The headers listed in module(... DOORS a.h b.h); None for a room that is not built yet."""
    try:
        with open(os.path.join(src, room, "CMakeLists.txt"), encoding="utf-8") as f:
            text = re.sub(r"#.*", "", f.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    doors = set()
    for module in re.findall(r"\bmodule\(([^)]*)\)", text):
        words = module.split()
        if "DOORS" in words:
            for word in words[words.index("DOORS") + 1:]:
                if word in ("SOURCES", "NEEDS", "LIBS"):
                    break
                doors.add(word)
    return doors


def source_files(src):
    for folder, _, names in sorted(os.walk(src)):
        for name in sorted(names):
            if name.endswith((".c", ".h", ".def", ".S")):
                yield os.path.join(folder, name)


def check_include(floors, doors, room, target):
    """Why a file of `room` must not include `target`; None where it may."""
    there = target.split("/")[0] if "/" in target else None
    if there is None:
        return "name it with its room, as in \"base/str.h\""
    if there == room or there not in floors:
        return None
    if floors[there] >= floors.get(room, TOP_FLOOR):
        way = "sideways" if floors[there] == floors[room] else "upward"
        return f"runs {way}: {room} is on floor {floors[room]}, {there} on floor {floors[there]}"
    if target.endswith("_priv.h"):
        return f"belongs to {there} alone"
    if doors[there] is not None and not target.endswith(".def") and target[len(there) + 1:] not in doors[there]:
        return f"is not one of {there}'s doors (DOORS in src/{there}/CMakeLists.txt)"
    return None


def check_includes(floors, src):
    doors = {room: read_doors(src, room) for room in floors}
    faults = []
    for path in source_files(src):
        parts = os.path.relpath(path, src).split(os.sep)
        room = parts[0] if len(parts) > 1 else None
        if room is not None and room not in floors:
            faults.append(f"{path}: the room {room} has no floor in tests/layering/floors")
            continue
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                m = INCLUDE.match(line)
                why = check_include(floors, doors, room, m.group(1)) if m else None
                if why:
                    faults.append(f"{path}:{number}: #include \"{m.group(1)}\" {why}")
    return faults


def nm(lib, option):
    out = subprocess.run(["nm", "-A", "-g", option, lib], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True, check=True).stdout
    for line in out.splitlines():
        where, _, rest = line.rpartition(":")
        words = rest.split()
        if words:
            yield where, words[-1]


def check_symbols(floors, libs):
    found = {}
    for folder, _, names in os.walk(libs):
        for name in names:
            m = re.fullmatch(r"libobjm_(\w+)\.a", name)
            if m and m.group(1) in floors:
                found[m.group(1)] = os.path.join(folder, name)
    if not found:
        return [f"no libobjm_*.a under {libs}"]
    owner, faults = {}, []
    for room, lib in sorted(found.items()):
        for _, symbol in nm(lib, "--defined-only"):
            # The sanitizers' own symbols are in every object.
            if symbol.startswith(("__", "_")):
                continue
            if owner.setdefault(symbol, room) != room:
                faults.append(f"{symbol} is defined in {owner[symbol]} and in {room}")
    for room, lib in sorted(found.items()):
        for where, symbol in nm(lib, "--undefined-only"):
            there = owner.get(symbol)
            if there is None or there == room:
                continue
            member = os.path.basename(where)
            if floors[there] >= floors[room]:
                faults.append(f"{room} ({member}) uses {symbol} of {there}, which is not below it")
            elif symbol.startswith(there + "__"):
                faults.append(f"{room} ({member}) uses {symbol}, which belongs to {there} alone")
    return faults


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("what", choices=("includes", "symbols"))
    ap.add_argument("--src", default=os.path.join(ROOT, "src"))
    ap.add_argument("--libs")
    ap.add_argument("--floors", default=os.path.join(HERE, "floors"))
    a = ap.parse_args()
    floors = read_floors(a.floors)
    faults = check_includes(floors, a.src) if a.what == "includes" else check_symbols(floors, a.libs)
    for fault in faults:
        print(fault)
    print(f"layering {a.what}: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
